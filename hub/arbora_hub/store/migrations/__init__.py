"""How the schema came to be, one step a file in `versions/`; `schema.py` runs what is missing when a store opens.

To add a step: change `tables.py`, write `versions/v<number>_<what>.py` with the next four-digit revision and
`down_revision` set to the one before, and set `HEAD` in `schema.py`. A step that was released is never changed.
Tests compare the steps' result with `tables.py` and `HEAD` with the newest step.
"""
