"""What a corpus is built from and how: one small file per stage; `CorpusConfig` holds them all."""
