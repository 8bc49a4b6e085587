"""Exact and near duplicates of repositories and files (DeepSeek-Coder 2.3).

`sketch` (a map over repositories), `candidates` (the exchange by band key), `verify` (a map over
pairs), `decide`; `deduplicate` in `run.py` does all of it for documents at hand.
"""
