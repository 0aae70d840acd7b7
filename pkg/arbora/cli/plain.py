"""Protobuf messages as plain data for `-o json` and `-o yaml`.

As Kubernetes writes it: camelCase keys, `Online` and not `LIVENESS_ONLINE`, manifests as objects and not as
bytes. Every field without presence is there, even when it is empty, so that a script can rely on it; 64-bit
numbers are numbers. Durations are seconds (`lifetime: 3600`), times are RFC 3339 in UTC. Pure.
"""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from arbora.errors import InvalidInput
from arbora.manifests.objects import from_json

_JSON_FIELDS = frozenset({"arbora.v1.WorkloadSpec.manifests", "arbora.v1.Assignment.manifests"})
"""Fields of bytes that hold a JSON object."""
_JSON_LIST = "arbora.v1.WorkloadSpec.overrides"
"""The one that holds a JSON list, or nothing for an empty one."""


def to_plain(message: Message) -> Any:
    """`message` as maps, lists, texts, numbers and bools."""
    if isinstance(message, Timestamp):
        return message.ToJsonString()
    if isinstance(message, Duration):
        seconds = message.ToTimedelta().total_seconds()
        return int(seconds) if seconds.is_integer() else seconds
    plain: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            plain[field.json_name] = {str(key): _one(_value_field(field), value[key]) for key in sorted(value)}
        elif field.is_repeated:
            plain[field.json_name] = [_one(field, item) for item in value]
        elif not field.has_presence or message.HasField(field.name):
            plain[field.json_name] = _one(field, value)
    return plain


def enum_word(enum: EnumDescriptor, number: int) -> str:
    """`ONLINE` of `LIVENESS_ONLINE` as `Online`; an unknown number as itself."""
    value = enum.values_by_number.get(number)
    if value is None:
        return str(number)
    prefix = "".join(f"_{c}" if c.isupper() else c.upper() for c in enum.name).lstrip("_") + "_"
    return "".join(part.capitalize() for part in value.name.removeprefix(prefix).split("_"))


def _value_field(field: Any) -> Any:
    """Of a map: what describes its values."""
    return field.message_type.fields_by_name["value"]


def _one(field: Any, value: Any) -> Any:
    if isinstance(value, Message):
        return to_plain(value)
    if field.enum_type is not None:
        return enum_word(field.enum_type, value)
    if isinstance(value, bytes):
        return _bytes(field, value)
    return value


def _bytes(field: Any, value: bytes) -> Any:
    if field.full_name in _JSON_FIELDS:
        with contextlib.suppress(InvalidInput):  # else shown as the bytes they are
            return from_json(value)
    if field.full_name == _JSON_LIST:
        with contextlib.suppress(ValueError):
            return json.loads(value or b"[]")
    return base64.b64encode(value).decode()
