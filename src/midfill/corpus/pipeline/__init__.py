"""The whole chain: stages over parts of the corpus, resumed where they were ended."""
