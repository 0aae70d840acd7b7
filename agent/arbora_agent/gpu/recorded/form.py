"""The form of a recording: one JSON object a line.

    {"recording": 1, "real": false, "about": "eight H100; one falls off the bus after a minute"}
    {"at": 0.0, "facts": {"driver": "570.86.10", "cuda": "12.8", "gpus": [{"uuid": "GPU-1", "index": 0, ...}]}}
    {"at": 0.0, "uuid": "GPU-1", "read": {"utilization": 97, "temperature": 61}}
    {"at": 60.0, "xid": 79, "uuid": "GPU-1"}
    {"at": 60.0, "uuid": "GPU-1", "read": {"answer": "lost"}}
    {"at": 90.0, "away": "the driver is not loaded"}

`at` is in seconds since the beginning and never falls. A reading names what has changed since the one before of
that device; null takes a number away. `real` says whether a device said all of this, or a person made it up.
Fields are those of `reading.py`. Pure but for `load` and `named`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from arbora.errors import InvalidInput, NotFound
from arbora_agent.gpu.reading import (
    Answer,
    Changed,
    GpuEvent,
    GpuFacts,
    GpuReading,
    MigFacts,
    NodeFacts,
    Xid,
)

T = TypeVar("T")

MADE = Path(__file__).parent / "made"
MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One line after the first: exactly one of facts, read, event and away."""

    at: float
    facts: NodeFacts | None = None
    uuid: str = ""
    read: Mapping[str, Any] | None = None
    """Changed fields of GpuReading."""
    event: GpuEvent | None = None
    away: str | None = None
    """Why there is no driver from now on; empty: there is one again."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What was said, in the order of time."""

    about: str = ""
    real: bool = False
    """A device said it. False: it was made by hand."""
    entries: tuple[Entry, ...] = ()

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.entries[-1].at if self.entries else 0.0


def load(path: Path) -> Recording:
    """Read a file. Raises NotFound, InvalidInput that names the line."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidInput(f"{path} is larger than {MAX_BYTES // 2**20} MiB")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound(
            f"the recording {path} can't be read: {error}",
            hint=f"Give a file that `arbora gpu record` made, or one of: {', '.join(made())}.",
        ) from error
    return parse(text.splitlines(), str(path))


def named(text: str) -> Recording:
    """A recording by the name of one that comes with the program, or by its file. Raises as `load`."""
    return load(MADE / f"{text}.jsonl" if text in made() else Path(text))


def made() -> list[str]:
    """Names of the recordings that come with the program."""
    return sorted(each.stem for each in MADE.glob("*.jsonl"))


def parse(lines: Iterable[str], where: str = "recording") -> Recording:
    """From text. Raises InvalidInput that names the line."""
    head: Mapping[str, Any] | None = None
    entries: list[Entry] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{where}:{number}"
        try:
            data = json.loads(line)
        except ValueError as error:
            raise InvalidInput(f"is not JSON: {error}", field=place) from error
        if not isinstance(data, dict):
            raise InvalidInput("is not an object", field=place)
        if head is None:
            head = _head(data, place)
            continue
        entry = _entry(data, place)
        if entries and entry.at < entries[-1].at:
            raise InvalidInput(f"at {entry.at:g} comes after {entries[-1].at:g}", field=place)
        entries.append(entry)
    if head is None:
        raise InvalidInput("is empty", field=where, hint="The first line says what is recorded.")
    return Recording(str(head.get("about", "")), bool(head.get("real", False)), tuple(entries))


def head_line(about: str, real: bool) -> str:
    """The first line."""
    return _line({"recording": 1, "real": real, "about": about})


def entry_line(entry: Entry) -> str:
    """One further line."""
    data: dict[str, Any] = {"at": round(entry.at, 3)}
    if entry.facts is not None:
        data["facts"] = _plain(entry.facts)
    elif entry.read is not None:
        data |= {"uuid": entry.uuid, "read": {name: _plain(value) for name, value in entry.read.items()}}
    elif isinstance(entry.event, Xid):
        data |= {"xid": entry.event.code, "uuid": entry.event.uuid}
        event = entry.event
        rest: dict[str, Any] = {"age": event.age or None, "gpu_instance": event.gpu_instance, "pid": event.pid}
        rest["process"] = event.process or None
        data |= {name: value for name, value in rest.items() if value is not None}
    elif isinstance(entry.event, Changed):
        data["changed"] = entry.event.uuid
    else:
        data["away"] = entry.away or ""
    return _line(data)


def changed_fields(before: GpuReading | None, after: GpuReading) -> dict[str, Any]:
    """What of a reading is not as it was before."""
    old = before or GpuReading(after.uuid)
    names = [each.name for each in dataclasses.fields(GpuReading) if each.name != "uuid"]
    return {name: getattr(after, name) for name in names if getattr(after, name) != getattr(old, name)}


def _line(data: Mapping[str, Any]) -> str:
    return json.dumps(data, separators=(",", ":")) + "\n"


def _plain(value: Any) -> Any:
    """As JSON has it, without what is not known."""
    if dataclasses.is_dataclass(value):
        fields = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
        return {
            name: _plain(each) for name, each in fields.items() if each not in (None, "", ()) or name == "gpus"
        }
    if isinstance(value, Answer):
        return value.value
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value


def _head(data: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    if data.get("recording") != 1:
        raise InvalidInput(
            "does not begin a recording of version 1", field=place, hint="Its first line has recording: 1."
        )
    return data


def _entry(data: dict[str, Any], place: str) -> Entry:
    at = data.pop("at", None)
    if not isinstance(at, int | float) or isinstance(at, bool) or not 0 <= at < float("inf"):
        raise InvalidInput("has no time `at`", field=place)
    uuid = data.pop("uuid", "")
    if "facts" in data:
        return Entry(at, facts=_node_facts(data.pop("facts"), place))
    if "read" in data:
        if not uuid:
            raise InvalidInput("names no device `uuid`", field=place)
        return Entry(at, uuid=uuid, read=_read(data.pop("read"), place))
    if "xid" in data:
        return Entry(at, event=_xid(data, uuid, place))
    if "changed" in data:
        return Entry(at, event=Changed(str(data.pop("changed"))))
    if "away" in data:
        return Entry(at, away=str(data.pop("away")))
    raise InvalidInput(f"has none of facts, read, xid, changed, away but {sorted(data)}", field=place)


def _xid(data: Mapping[str, Any], uuid: str, place: str) -> Xid:
    for name, kinds in (("age", int | float), ("gpu_instance", int), ("pid", int), ("process", str)):
        if name in data and (not isinstance(data[name], kinds) or isinstance(data[name], bool)):
            raise InvalidInput(f"{name} is {data[name]!r}", field=place)
    known = {name: data[name] for name in ("age", "gpu_instance", "pid", "process") if name in data}
    return Xid(_whole(data["xid"], place), uuid, **known)


def _object(data: Any, place: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise InvalidInput(f"{str(data)[:80]!r} is not an object", field=place)
    return data


def _node_facts(given: Any, place: str) -> NodeFacts:
    data = _object(given, place)
    gpus = tuple(_facts(_object(each, place), place) for each in _list(data.get("gpus"), place))
    return NodeFacts(str(data.get("driver", "")), str(data.get("cuda", "")), gpus)


def _facts(data: dict[str, Any], place: str) -> GpuFacts:
    mig = tuple(_checked(MigFacts, _object(each, place), place) for each in _list(data.pop("mig", []), place))
    return _checked(GpuFacts, {**data, "mig": mig}, place)


def _checked(kind: type[T], data: Mapping[str, Any], place: str) -> T:
    known = set(get_type_hints(kind))
    unknown = sorted(data.keys() - known)
    if unknown:
        raise InvalidInput(f"has {unknown[0]!r}, which {kind.__name__} has not", field=place)
    try:
        return kind(**data)
    except TypeError as error:
        raise InvalidInput(f"lacks something of {kind.__name__}: {error}", field=place) from error


def _read(data: Any, place: str) -> Mapping[str, Any]:
    hints = _reading_types()
    values: dict[str, Any] = {}
    for name, value in _object(data, place).items():
        if name == "uuid" or name not in hints:
            raise InvalidInput(f"has {name!r}, which a reading has not", field=place)
        if name == "answer":
            try:
                value = Answer(value)
            except ValueError as error:
                raise InvalidInput(f"{value!r} is no answer", field=place) from error
        elif name == "mig_memory_used":
            value = tuple(_list(value, place))
        elif value is not None and not isinstance(value, hints[name]):
            raise InvalidInput(f"{name} is {value!r}", field=place)
        values[name] = value
    return values


@cache
def _reading_types() -> dict[str, Any]:
    return get_type_hints(GpuReading)


def _list(data: Any, place: str) -> list[Any]:
    if not isinstance(data, list):
        raise InvalidInput(f"{data!r} is not a list", field=place)
    return data


def _whole(data: Any, place: str) -> int:
    if not isinstance(data, int) or isinstance(data, bool):
        raise InvalidInput(f"{data!r} is not a number", field=place)
    return data
