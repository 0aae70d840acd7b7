"""The form of recordings: what is written is what is read, a wrong line names its number, and those that come
with the program can all be played."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora.errors import InvalidInput, NotFound
from arbora_agent.gpu.reading import Answer, Changed, GpuFacts, GpuReading, MigFacts, NodeFacts, Xid
from arbora_agent.gpu.recorded import RecordedReader, load, named
from arbora_agent.gpu.recorded.form import Entry, Recording, changed_fields, entry_line, head_line, made, parse

words = st.text(max_size=12)
uuids = st.text(min_size=1, max_size=12)
numbers = st.none() | st.integers(0, 2**64)
migs = st.builds(MigFacts, uuids, words, st.integers(0, 13), st.integers(0, 7), numbers)
gpus = st.builds(
    GpuFacts,
    uuids,
    st.integers(0, 15),
    name=words,
    serial=words,
    pci_bus_id=words,
    minor=numbers,
    memory_bytes=numbers,
    mig_enabled=st.booleans(),
    mig=st.lists(migs, max_size=3).map(tuple),
)
facts = st.builds(NodeFacts, words, words, st.lists(gpus, min_size=1, max_size=3).map(tuple))


def values_of(field: dataclasses.Field[Any]) -> st.SearchStrategy[Any]:
    if field.name == "answer":
        return st.sampled_from(Answer)
    if field.name == "problem":
        return words
    if field.name == "mig_memory_used":
        return st.lists(numbers, max_size=3).map(tuple)
    return st.none() | st.booleans() if "bool" in str(field.type) else numbers


FIELDS = {each.name: values_of(each) for each in dataclasses.fields(GpuReading) if each.name != "uuid"}
reads = st.fixed_dictionaries({}, optional=FIELDS)
readings = st.builds(lambda values: GpuReading("GPU-1", **values), reads)
xids = st.builds(
    Xid,
    st.integers(0, 200),
    words,
    age=st.floats(0, 1e6),
    gpu_instance=st.none() | st.integers(1, 13),
    pid=st.none() | st.integers(1, 2**22),
    process=words,
)
contents = st.one_of(
    facts.map(lambda value: {"facts": value}),
    st.builds(lambda uuid, read: {"uuid": uuid, "read": read}, uuids, reads),
    st.builds(lambda event: {"event": event}, xids | uuids.map(Changed)),
    words.map(lambda why: {"away": why}),
)


@st.composite
def recordings(draw: st.DrawFn) -> Recording:
    times = sorted(draw(st.lists(st.integers(0, 10**9), max_size=6)))
    entries = [Entry(at / 1000, **draw(contents)) for at in times]
    return Recording(draw(words), draw(st.booleans()), tuple(entries))


def written(recording: Recording) -> list[str]:
    return [head_line(recording.about, recording.real), *map(entry_line, recording.entries)]


@given(recordings())
def test_what_is_written_is_what_is_read(recording: Recording) -> None:
    assert parse(written(recording)) == recording


@given(recordings())
def test_a_line_is_a_line(recording: Recording) -> None:
    for line in written(recording):
        assert line.endswith("\n")
        assert line.isascii()
        assert len(line.splitlines()) == 1


@given(readings, readings)
def test_what_has_changed_makes_the_later_reading_of_the_earlier_one(
    before: GpuReading, after: GpuReading
) -> None:
    changes = changed_fields(before, after)
    assert dataclasses.replace(before, **changes) == after
    assert changed_fields(None, after) == changed_fields(GpuReading("GPU-1"), after)
    assert changed_fields(after, after) == {}


def test_the_first_instance_of_a_divided_device_is_kept() -> None:
    entry = Entry(0.0, event=Xid(94, "GPU-1", gpu_instance=0))
    assert parse([head_line("", False), entry_line(entry)]).entries == (entry,)


def test_a_node_without_devices_is_kept() -> None:
    entry = Entry(0.0, facts=NodeFacts("570.86.10", "12.8"))
    assert parse([head_line("", False), entry_line(entry)]).entries == (entry,)


def test_empty_lines_say_nothing() -> None:
    lines = ["", head_line("eight", True), "\n", entry_line(Entry(1.0, away="gone")), "  "]
    assert parse(lines) == Recording("eight", True, (Entry(1.0, away="gone"),))


def test_a_recording_lasts_until_its_last_line() -> None:
    assert Recording().seconds == 0.0
    assert Recording(entries=(Entry(1.0, away=""), Entry(7.5, away=""))).seconds == 7.5


WRONG = {
    "no JSON": ("{", "is not JSON"),
    "no object": ("[1]", "is not an object"),
    "no time": ('{"xid": 79}', "has no time"),
    "a time that is none": ('{"at": true, "xid": 79}', "has no time"),
    "a time before the beginning": ('{"at": -1, "xid": 79}', "has no time"),
    "a time that goes back": ('{"at": 4, "xid": 79}', "comes after"),
    "nothing that is known": ('{"at": 5, "what": 1}', "has none of"),
    "a device that is not named": ('{"at": 5, "read": {}}', "names no device"),
    "a field that no reading has": ('{"at": 5, "uuid": "GPU-1", "read": {"mood": 1}}', "'mood'"),
    "a number that is none": ('{"at": 5, "uuid": "GPU-1", "read": {"temperature": "hot"}}', "temperature"),
    "an answer that is none": ('{"at": 5, "uuid": "GPU-1", "read": {"answer": "perhaps"}}', "perhaps"),
    "memory that is no list": ('{"at": 5, "uuid": "GPU-1", "read": {"mig_memory_used": 1}}', "not a list"),
    "a code that is no number": ('{"at": 5, "xid": "79"}', "is not a number"),
    "devices that are no list": ('{"at": 5, "facts": {"gpus": {}}}', "not a list"),
    "a device with what no device has": (
        '{"at": 5, "facts": {"gpus": [{"uuid": "GPU-1", "index": 0, "colour": 1}]}}',
        "'colour'",
    ),
    "a device without a UUID": ('{"at": 5, "facts": {"gpus": [{"index": 0}]}}', "lacks something"),
    "an instance without a UUID": (
        '{"at": 5, "facts": {"gpus": [{"uuid": "GPU-1", "index": 0, "mig": [{"profile": "1g.10gb"}]}]}}',
        "lacks something",
    ),
}


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_line_names_its_number(line: str) -> None:
    text, words = WRONG[line]
    with pytest.raises(InvalidInput, match=words) as wrong:
        parse([head_line("", False), entry_line(Entry(5.0, away="")), "", text], "played.jsonl")
    assert wrong.value.field == "played.jsonl:4"


@pytest.mark.parametrize(
    "text",
    [
        '{"at": 5, "facts": []}',
        '{"at": 5, "facts": {"gpus": [1]}}',
        '{"at": 5, "uuid": "GPU-1", "read": 1}',
    ],
)
def test_what_is_no_object_names_its_line_too(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse([head_line("", False), text])


@pytest.mark.parametrize("head", ['{"at": 0, "away": ""}', '{"recording": 2}'])
def test_a_file_of_another_form_is_refused_at_its_first_line(head: str) -> None:
    with pytest.raises(InvalidInput, match="version 1") as wrong:
        parse([head], "other.jsonl")
    assert wrong.value.field == "other.jsonl:1"


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(InvalidInput, match="is empty"):
        parse([])


def test_a_file_that_is_not_there_is_not_found_and_the_names_are_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nowhere\.jsonl"):
        load(tmp_path / "nowhere.jsonl")


def test_a_file_that_is_no_text_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "binary.jsonl"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(NotFound, match="binary"):
        load(path)


def test_a_recording_is_named_by_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(head_line("mine", True), encoding="utf-8")
    assert named(str(path)) == Recording("mine", True)


# those that come with the program; looked for here and not in a parameter, since there may be none


def test_those_that_come_with_the_program_say_that_no_device_said_them() -> None:
    for name in made():
        recording = named(name)
        assert not recording.real, name
        assert recording.about, name


def test_those_that_come_with_the_program_are_whole() -> None:
    for name in made():
        listed: set[str] = set()
        for entry in named(name).entries:
            if entry.facts is not None:
                listed |= {gpu.uuid for gpu in entry.facts.gpus}
            assert not entry.uuid or entry.uuid in listed, f"{name}: {entry.uuid} is read before it is listed"


def test_those_that_come_with_the_program_begin_with_devices_that_can_be_read() -> None:
    for name in made():
        reader = RecordedReader(named(name))
        reader.open()
        gpus = reader.facts().gpus
        assert gpus, name
        assert {reader.read(gpu.uuid).uuid for gpu in gpus} == {gpu.uuid for gpu in gpus}
        reader.close()


def test_a_line_is_small() -> None:
    line = json.loads(entry_line(Entry(0.0, facts=NodeFacts("570", "", (GpuFacts("GPU-1", 0),)))))
    assert line == {
        "at": 0.0,
        "facts": {"driver": "570", "gpus": [{"uuid": "GPU-1", "index": 0, "mig_enabled": False}]},
    }
