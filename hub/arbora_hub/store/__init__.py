"""What a hub keeps on disk. `port.py` is the interface, `opening.py` the way in, `sqlite.py` the adapter.

A write's way: `SqliteStore.write` -> `writer.py` (groups it with others into one commit) -> `transaction.py`
(the nouns) -> `children.py`, `workloads.py`, ... (one module of queries each) -> `statements.py` (runs them,
translates errors) -> `connection.py` (one SQLite connection).
"""
