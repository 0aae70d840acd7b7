"""What a child hub could not place, and when it is asked again."""

from __future__ import annotations

from arbora.identity.names import Path
from arbora.manifests.objects import to_json
from arbora.v1 import workload_pb2 as pb
from arbora_hub.store.rows import WorkloadRow
from arbora_hub.workloads.caps import FIRST_SECONDS, LONGEST_SECONDS, Caps
from arbora_hub.workloads.record import WorkloadRecord, restored
from tests.support.hub import config_map


def workload(name: str) -> WorkloadRecord:
    spec = pb.WorkloadSpec(manifests=[to_json(config_map(name))]).SerializeToString()
    placement = pb.Placement(members=["eu"]).SerializeToString()
    return restored(WorkloadRow(f"uid-of-{name}", name, {}, 1, placement, spec, 0.0), Path())


def test_a_cap_holds_until_the_hubs_capacity_changes() -> None:
    caps, record = Caps(), workload("web")
    assert caps.note(record, "eu", 3, 0.0)
    assert not caps.note(record, "eu", 3, 1.0), "no news"
    assert record.caps == {"eu": 3}
    assert list(caps.lift("us")) == []
    assert list(caps.lift("eu")) == ["web"]
    assert record.caps == {}


def test_a_cap_ends_by_itself_as_a_hub_may_have_room_that_its_capacity_does_not_show() -> None:
    caps, record = Caps(), workload("web")
    caps.note(record, "eu", 3, 100.0)
    assert list(caps.due(100.0 + FIRST_SECONDS - 1.0)) == []
    assert caps.next_moment() == 100.0 + FIRST_SECONDS
    assert list(caps.due(100.0 + FIRST_SECONDS)) == ["web"]
    assert record.caps == {}
    assert list(caps.due(1000.0)) == []


def test_a_hub_that_stays_short_is_asked_less_and_less_often() -> None:
    caps, record, now, waits = Caps(), workload("web"), 0.0, []
    for _ in range(9):
        caps.note(record, "eu", 3, now)
        waits.append(caps.next_moment() - now)
        now += waits[-1]
        assert list(caps.due(now)) == ["web"]
    assert waits[:3] == [FIRST_SECONDS, 2 * FIRST_SECONDS, 4 * FIRST_SECONDS]
    assert waits[-1] == LONGEST_SECONDS


def test_a_change_of_capacity_makes_good_what_was_said_before() -> None:
    caps, record = Caps(), workload("web")
    for now in (0.0, 10.0):
        caps.note(record, "eu", 3, now)
        assert list(caps.lift("eu")) == ["web"]
    caps.note(record, "eu", 3, 20.0)
    assert caps.next_moment() == 20.0 + FIRST_SECONDS, "not longer than the first time"


def test_of_a_workload_that_is_gone_nothing_is_left() -> None:
    caps, record = Caps(), workload("web")
    caps.note(record, "eu", 3, 0.0)
    caps.forget(record.row.uid)
    assert list(caps.due(1000.0)) == []
