"""The field table, the records that obey it, and the Parquet store that keeps them.

Imports `scoring`, `datasets`, `specs` and `errors`. Reading a record never loads a model.
"""
