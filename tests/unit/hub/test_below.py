"""A placement as a child hub sees it."""

from __future__ import annotations

from arbora.identity.names import Path
from arbora.v1 import workload_pb2 as pb
from arbora_hub.workloads.below import hubs_named, placement_below

ROOT = Path()


def listed(*members: str) -> pb.Placement:
    return pb.Placement(members=members)


def test_of_listed_members_those_below_the_hub_stay_relative_to_it() -> None:
    below = placement_below(listed("/eu/paris/edge-7", "eu/edge-1", "/us/edge-2"), "eu", ROOT)
    assert list(below.members) == ["paris/edge-7", "edge-1"]
    assert not below.HasField("selector")


def test_a_hub_that_is_listed_itself_means_everything_below_it() -> None:
    below = placement_below(listed("eu", "/eu/edge-1"), "eu", ROOT)
    assert list(below.members) == []
    assert below.selector == pb.LabelSelector()
    assert below.HasField("selector")


def test_paths_are_relative_to_where_the_hub_stands() -> None:
    below = placement_below(listed("/eu/paris/edge-7"), "paris", Path.parse("/eu"))
    assert list(below.members) == ["edge-7"]


def test_a_selector_goes_down_as_it_is() -> None:
    placement = pb.Placement(selector=pb.LabelSelector(match_labels={"gpu": "h100"}), members=["us"])
    below = placement_below(placement, "eu", ROOT)
    assert dict(below.selector.match_labels) == {"gpu": "h100"}
    assert list(below.members) == []


def test_groups_keep_their_order_and_those_elsewhere_are_left_out() -> None:
    placement = pb.Placement(
        groups=[
            pb.AffinityGroup(name="us", members=["/us/a"]),
            pb.AffinityGroup(name="near", members=["/eu/a"]),
            pb.AffinityGroup(name="all", members=["eu"]),
            pb.AffinityGroup(name="big", selector=pb.LabelSelector(match_labels={"size": "big"})),
        ]
    )
    below = placement_below(placement, "eu", ROOT)
    assert [group.name for group in below.groups] == ["near", "all", "big"]
    assert list(below.groups[0].members) == ["a"]
    assert below.groups[1].HasField("selector")


def test_static_weights_follow_their_members() -> None:
    division = pb.Division(
        mode="weighted",
        weights=[
            pb.StaticWeight(weight=3, member="/eu/a"),
            pb.StaticWeight(weight=2, member="us"),
            pb.StaticWeight(weight=1, member="eu"),
        ],
    )
    below = placement_below(pb.Placement(members=["eu"], division=division), "eu", ROOT)
    assert [(one.weight, one.member) for one in below.division.weights] == [(3, "a"), (1, "")]


def test_the_placement_itself_is_left_as_it_is() -> None:
    placement = listed("/eu/a")
    before = placement.SerializeToString(deterministic=True)
    placement_below(placement, "eu", ROOT)
    assert placement.SerializeToString(deterministic=True) == before


def test_children_that_must_be_hubs_are_those_with_something_below() -> None:
    assert hubs_named(listed("/eu/a", "b"), ROOT) == {"eu": "/eu/a"}


def test_least_numbers_are_for_the_hub_that_was_asked() -> None:
    spread = [pb.SpreadConstraint(label="region", min_groups=2, max_skew=1)]
    placement = pb.Placement(members=["eu"], minimum=3, clusters=5, spread=spread)
    below = placement_below(placement, "eu", ROOT)
    assert (below.minimum, below.clusters, below.spread[0].min_groups) == (0, 5, 0)
