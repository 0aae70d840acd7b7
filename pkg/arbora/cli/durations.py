"""Durations as people write and read them: `90s`, `1h30m`, `2m3s`, `12d`. Pure."""

from __future__ import annotations

import re
from datetime import timedelta

from arbora.errors import InvalidInput

_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_PART = re.compile(r"(\d{1,9})([dhms])")
_WHOLE = re.compile(r"(\d{1,9}[dhms])+")


def parse_duration(text: str, field: str = "duration") -> timedelta:
    """Read `90s`, `1h30m`, `7d`. Zero is refused. Raises InvalidInput."""
    if not _WHOLE.fullmatch(text):
        raise InvalidInput(f"{text!r} is not a duration", field=field, hint="Write it as 90s, 15m, 1h30m or 7d.")
    try:
        duration = sum(
            (timedelta(seconds=int(n) * _SECONDS[unit]) for n, unit in _PART.findall(text)), timedelta()
        )
    except OverflowError as error:
        raise InvalidInput(f"{text!r} is too long", field=field) from error
    if not duration:
        raise InvalidInput("is zero", field=field)
    return duration


def show_duration(seconds: float) -> str:
    """The two largest units: `250ms`, `42s`, `2m3s`, `5h12m`, `3d4h`. Negative counts as zero."""
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))}ms" if seconds > 0 else "0s"
    rest = int(seconds)
    parts: list[str] = []
    for unit, size in _SECONDS.items():
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count}{unit}" if count else "")
    return "".join(parts[:2])
