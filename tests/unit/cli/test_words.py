"""The small languages of the command line: durations, labels, taints, plain data."""

from __future__ import annotations

from datetime import timedelta

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st

from arbora.cli.durations import parse_duration, show_duration
from arbora.cli.labels import parse_taints, show_taint
from arbora.cli.plain import enum_word, to_plain
from arbora.errors import InvalidInput
from arbora.v1 import member_pb2 as pb
from arbora.v1 import workload_pb2


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1h30m", 5400), ("7d", 604800), ("2m3s", 123), ("1d1h1m1s", 90061)]
)
def test_a_duration_is_read(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "h", "-1h", "1.5h", "1h 30m", "0s", "1w", "999999999d" * 3])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^lifetime: "):
        parse_duration(text, "lifetime")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0s"), (0.25, "250ms"), (42.9, "42s"), (123, "2m3s"), (120, "2m"), (18720, "5h12m")),
        *((3600, "1h"), (3 * 86400 + 4 * 3600 + 59, "3d4h"), (86400 + 30, "1d"), (-5, "0s")),
    ],
)
def test_a_duration_is_shown_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert show_duration(seconds) == text


@given(st.integers(1, 10**8))
def test_what_is_shown_can_be_read_and_loses_less_than_its_second_unit(seconds: int) -> None:
    read = parse_duration(show_duration(seconds)).total_seconds()
    assert read <= seconds
    assert seconds - read < 3600


def test_a_taint_is_read_as_it_is_shown() -> None:
    for text in ("team=x:NoSchedule", "gone:NoExecute", "soft=1:PreferNoSchedule"):
        (taint,), removed = parse_taints([text])
        assert show_taint(taint) == text
        assert not removed
    _, (every,) = parse_taints(["team-"])
    assert (every.key, every.effect) == ("team", pb.TAINT_EFFECT_UNSPECIFIED)


def test_enums_are_words_as_kubernetes_writes_them() -> None:
    assert enum_word(pb.TaintEffect.DESCRIPTOR, pb.TAINT_EFFECT_PREFER_NO_SCHEDULE) == "PreferNoSchedule"
    assert enum_word(pb.Liveness.DESCRIPTOR, 0) == "Unspecified"
    assert enum_word(pb.Liveness.DESCRIPTOR, 99) == "99"


def test_plain_data_has_the_keys_of_protobufs_own_json() -> None:
    member = pb.Member(path="/a", labels={"z": "1", "a": "2"}, taints=[pb.Taint(key="k", effect=1)])
    member.heard_ago.FromTimedelta(timedelta(seconds=1.5))
    member.sketches.add().rows.add(total=8, histogram=[0, 1])
    own = MessageToDict(member, always_print_fields_with_no_presence=True)
    plain = to_plain(member)
    assert plain.keys() == own.keys()
    assert plain["sketches"][0]["rows"][0].keys() == own["sketches"][0]["rows"][0].keys()
    assert list(plain["labels"]) == ["a", "z"]
    assert plain["heardAgo"] == 1.5


def test_a_manifest_is_shown_as_an_object_and_bytes_that_are_none_stay_bytes() -> None:
    spec = workload_pb2.WorkloadSpec(manifests=[b'{"kind":"Job"}', b"\xff"])
    assert to_plain(spec)["manifests"] == [{"kind": "Job"}, "/w=="]
