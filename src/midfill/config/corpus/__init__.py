"""What a corpus is built from and how: one small file per stage; `build.py` holds them all."""
