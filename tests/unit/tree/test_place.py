"""What a parent says of a hub's place, and which hubs count as below."""

from __future__ import annotations

import pytest

from arbora.errors import InvalidInput
from arbora.identity.names import Path
from arbora.mirror.exchange import Exchange
from arbora.v1 import member_pb2
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.store.rows import ChildRow
from arbora_hub.tree.parents import Place
from arbora_hub.tree.place import MAX_ANCESTORS, hub_ids, read_place


def child(
    name: str, kind: str = "hub", liveness: Liveness = Liveness.ONLINE, hubs: tuple[str, ...] = ()
) -> Child:
    row = ChildRow(
        name=name,
        kind=kind,
        cluster_uid=f"id-{name}",
        labels={},
        taints=(),
        cordoned=False,
        state="active",
        serial_current="1",
        serial_new="",
        cert_not_after=0.0,
        session_epoch=1,
        last_status=b"",
        last_seen=0.0,
        created=0.0,
        version="",
    )
    status = member_pb2.ClusterStatus(subtree=member_pb2.SubtreeStatus(hubs=hubs))
    return Child(row, Exchange(1), liveness, status=status)


def test_a_place_is_taken_as_it_was_told() -> None:
    assert read_place("/eu", ["root"], {"a": "b"}, Place()) == (Path(("eu",)), Place(("root",), {"a": "b"}))


def test_labels_that_were_not_told_stay() -> None:
    assert read_place("/eu", ["root"], None, Place((), {"a": "b"}))[1] == Place(("root",), {"a": "b"})


@pytest.mark.parametrize(
    ("path", "ancestors", "labels"),
    [
        ("/EU", ["r"], {}),
        ("/eu", [""], {}),
        ("/eu", ["x" * 65], {}),
        ("/eu", ["a\nb"], {}),
        ("/eu", ["r"] * (MAX_ANCESTORS + 1), {}),
        ("/eu", ["r"], {"not a key": "x"}),
    ],
)
def test_a_place_that_can_not_be_is_refused(path: str, ancestors: list[str], labels: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        read_place(path, ancestors, labels, Place())


def test_hubs_at_any_depth_are_named_and_agents_are_not() -> None:
    children = [
        child("paris", hubs=("id-site",)),
        child("edge", "agent"),
        child("rome", liveness=Liveness.SUSPECT),
    ]
    assert hub_ids("own", children) == ("own", "id-paris", "id-rome", "id-site")


def test_a_hub_that_is_lost_or_has_moved_may_stand_anywhere() -> None:
    gone = child("paris", hubs=("id-site",))
    gone.moved = True
    assert hub_ids("own", [gone, child("rome", liveness=Liveness.LOST)]) == ("own",)
