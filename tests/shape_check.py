"""The decorator that checks array shapes at every call; switched on for the tests only."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as in PEP 484
