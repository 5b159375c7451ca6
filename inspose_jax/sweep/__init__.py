"""Tables of trained models: `rows` says what is compared, `results` keeps what came out, `tables` shows it.

`inspose sweep` trains what is missing, one run after another, and writes the tables.
"""
