"""Situations of one Fleet, for the tests of plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from arbora_hub.kubernetes.multikueue.members import FleetMember
from arbora_hub.kubernetes.multikueue.plan import KnownCluster, Plan, Situation, known_cluster
from arbora_hub.kubernetes.multikueue.settings import read_settings

FLEET = "training"
EVERYTHING = {
    "queues": {"namespaces": ["team-a", "team-b"], "localQueue": "jobs"},
    "workers": {"createNamespaces": True},
}


def situation(
    *members: FleetMember,
    written: Mapping[str, Any] = EVERYTHING,
    known: Mapping[str, KnownCluster] | None = None,
    busy: Mapping[str, int] | None = None,
    unpublished: Sequence[str] = (),
    ended: bool = False,
    **more: Any,
) -> Situation:
    """A Fleet with these members."""
    return Situation(
        FLEET,
        read_settings(FLEET, written),
        written,
        ended,
        {one.path: one for one in members},
        known or {},
        {one.path: one.path.strip("/").replace("/", "-") for one in members if one.path not in unpublished},
        busy or {},
        **more,
    )


def known_by(plan: Plan) -> dict[str, KnownCluster]:
    """What Kueue knows once a plan was carried out, read back from the objects."""
    found = {}
    for one in plan.wanted:
        if one.kind.gvk.kind == "MultiKueueCluster":
            cluster = known_cluster(one.body, one.body["metadata"]["annotations"]["arbora.dev/path"][1:])
            assert cluster is not None
            found[cluster.path] = cluster
    return found


def objects(plan: Plan) -> dict[tuple[str, str, str], Mapping[str, Any]]:
    """Kind, namespace, name -> body."""
    return {
        (one.kind.gvk.kind, one.body["metadata"].get("namespace", ""), one.body["metadata"]["name"]): one.body
        for one in plan.wanted
    }


def clusters(plan: Plan) -> dict[str, list[str]]:
    """Config -> what it names."""
    found = objects(plan)
    return {
        name: body["spec"]["clusters"] for (kind, _, name), body in found.items() if kind == "MultiKueueConfig"
    }
