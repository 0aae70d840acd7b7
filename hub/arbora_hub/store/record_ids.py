"""Ids of events and audit entries: they sort by time, are unique, and tell when.

Pure: the time is passed in. An id is the time in microseconds as 14 hex digits, then a counter of 4.
"""

from __future__ import annotations

import re

from arbora.errors import InvalidInput

_FORM = re.compile(r"[0-9a-f]{14}-[0-9a-f]{4}")
_COUNTER_LIMIT = 1 << 16


class RecordIds:
    """Gives out ids that strictly rise, even where the clock stands still or goes back."""

    __slots__ = ("_counter", "_micros")

    def __init__(self, after: str = "") -> None:
        """after: the newest id that is stored; the next ones are above it. Raises InvalidInput if it is no id."""
        self._micros, self._counter = 0, -1
        if after:
            check_record_id(after)
            micros, _, counter = after.partition("-")
            self._micros, self._counter = int(micros, 16), int(counter, 16)

    def next(self, time: float) -> str:
        """The next id. time: seconds since the epoch."""
        micros = int(time * 1e6)
        if micros > self._micros:
            self._micros, self._counter = micros, 0
        else:
            self._counter += 1
            if self._counter == _COUNTER_LIMIT:
                self._micros, self._counter = self._micros + 1, 0
        return f"{self._micros:014x}-{self._counter:04x}"


def check_record_id(text: str, field: str = "id") -> str:
    """Give `text` back if it is an id. Raises InvalidInput, naming `field`."""
    if not _FORM.fullmatch(text):
        raise InvalidInput(
            "is not an id of an event or audit entry", field=field, hint="Pass it as it was given."
        )
    return text
