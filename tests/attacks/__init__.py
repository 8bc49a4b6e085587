"""Attacks on the sandbox: programs that try to get out, and what shows whether they did.

Each is tried at every level and without protection: an attack that fails unprotected too would prove
nothing. `python -m attacks` prints the table.
"""
