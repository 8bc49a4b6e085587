"""Text to token ids and back: byte-level BPE, sentinel tokens, chat templates, fill-in-the-middle.

Torch-free. `Tokenizer` in `tokenizer.py` is the door; the other files are what it is made of.
"""
