"""Minutes of all devices of a member in few bytes: 16 for each, in the order of their UUIDs' hashes. Pure.

    8 bytes  BLAKE2b of the UUID       1 byte  mean utilization, %    1 byte  highest, %
    2 bytes  memory in use, 16 MiB     2 bytes mean power, W          1 byte  highest temperature, C
    1 byte   health, and whether it was held back

All ones means: not known. So a member with 512 GPUs takes 8 kB a minute, and 12 MB a day.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from operator import itemgetter

from arbora.gpus.health import health_from_wire
from arbora_hub.gpus.minute import Minute

_FORM = struct.Struct("<8sBBHHBB")
SIZE = _FORM.size
_BYTE, _WORD = 0xFF, 0xFFFF
_THROTTLED = 0x80
MEMORY_UNIT = 16
"""MiB."""


@lru_cache(maxsize=100_000)
def key_of(uuid: str) -> bytes:
    """What stands for a device."""
    return blake2b(uuid.encode(), digest_size=8).digest()


def pack(minutes: Mapping[str, Minute]) -> bytes:
    """By UUID."""
    # by the key alone: two UUIDs may have the same one, and minutes have no order
    rows = sorted(((key_of(uuid), minute) for uuid, minute in minutes.items()), key=itemgetter(0))
    return b"".join(_packed(key, minute) for key, minute in rows)


def find(data: bytes, uuid: str) -> Minute | None:
    """The minute of one device; None if it is not there. Whatever the bytes are, it raises nothing."""
    key = key_of(uuid)
    count = len(data) // SIZE
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if data[middle * SIZE : middle * SIZE + len(key)] < key:
            low = middle + 1
        else:
            high = middle
    at = low * SIZE
    return _unpacked(data[at : at + SIZE]) if low < count and data[at : at + len(key)] == key else None


def _packed(key: bytes, minute: Minute) -> bytes:
    memory = None if minute.memory_used_mib is None else minute.memory_used_mib / MEMORY_UNIT
    return _FORM.pack(
        key,
        _number(minute.utilization, _BYTE),
        _number(minute.utilization_max, _BYTE),
        _number(memory, _WORD),
        _number(minute.power, _WORD),
        _number(minute.temperature, _BYTE),
        int(minute.health) | (_THROTTLED if minute.throttled else 0),
    )


def _unpacked(data: bytes) -> Minute:
    _key, mean, high, memory, power, temperature, state = _FORM.unpack(data)
    return Minute(
        utilization=_value(mean, _BYTE),
        utilization_max=_value(high, _BYTE),
        memory_used_mib=None if memory == _WORD else memory * MEMORY_UNIT,
        power=_value(power, _WORD),
        temperature=_value(temperature, _BYTE),
        health=health_from_wire(state & ~_THROTTLED),
        throttled=bool(state & _THROTTLED),
    )


def _number(value: float | None, unknown: int) -> int:
    return unknown if value is None else max(0, min(unknown - 1, round(value)))


def _value(number: int, unknown: int) -> int | None:
    return None if number == unknown else number
