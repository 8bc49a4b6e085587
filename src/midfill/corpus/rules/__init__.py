"""Which files of a repository are used, and what is hidden in them."""
