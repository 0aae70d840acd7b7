"""What a client says of a placement, and is told: overrides, refusals by field, explanations, dry runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from arbora.errors import InvalidInput, NotFound
from arbora.manifests.selectors import Requirement, Selector
from arbora.v1 import member_pb2, workload_pb2
from arbora_hub.inventory.liveness import Liveness
from tests.support.eventually import eventually
from tests.support.hub import config_map, job, running_agent, running_hub
from tests.support.placing import EVERYWHERE, ONE, PRODUCT, T4, deployment, fleet, gang, ref, shares, t4_job

SITES = {"a": {"region": "eu"}, "b": {"region": "cn"}}
OVERRIDES: list[dict[str, Any]] = [
    {
        "selector": {"matchLabels": {"region": "cn"}},
        "targets": [{"kind": "Deployment", "name": "serve"}],
        "edits": [
            {"image": {"part": "registry", "operator": "replace", "value": "registry.cn.example.org"}},
            {"env": {"set": {"REGION": "cn"}}},
        ],
    },
    {
        "members": ["b"],
        "targets": [{"kind": "ConfigMap"}],
        "edits": [{"jsonPatch": [{"op": "replace", "path": "/data/key", "value": "of b"}]}],
    },
]


async def test_overrides_change_what_a_member_runs_and_no_other(tmp_path: Path) -> None:
    async with fleet(tmp_path, SITES, a="1x8xH100", b="1x8xH100") as it:
        both = (deployment("serve", 4), config_map("settings"))
        await it.apply("serve", *both, overrides=OVERRIDES, division={"mode": "spread"})
        await it.until(
            "both have it",
            lambda: it.has("a", ref("ConfigMap", "settings")) and it.has("b", ref("ConfigMap", "settings")),
        )
        await it.until("both run it", lambda: it.replicas(ref("Deployment", "serve")) == {"a": 2, "b": 2})
        spec, values = {}, {}
        for name, agent in it.agents.items():
            body = agent.simulation.read(ref("Deployment", "serve"))
            assert body is not None
            spec[name] = body["spec"]["template"]["spec"]["containers"][0]
            found = agent.simulation.read(ref("ConfigMap", "settings"))
            assert found is not None
            values[name] = found["data"]["key"]
        assert (spec["a"]["image"], spec["a"].get("env")) == ("docker.io/team/web:1", None)
        assert spec["b"]["image"] == "registry.cn.example.org/team/web:1"
        assert spec["b"]["env"] == [{"name": "REGION", "value": "cn"}]
        assert values == {"a": "value", "b": "of b"}


async def test_a_label_that_an_override_selects_by_changes_what_the_member_runs(tmp_path: Path) -> None:
    async with fleet(tmp_path, a="1x8xH100") as it:
        await it.apply(
            "settings",
            config_map("settings", key="plain"),
            overrides=[
                {
                    "selector": {"matchLabels": {"region": "cn"}},
                    "edits": [{"jsonPatch": [{"op": "replace", "path": "/data/key", "value": "cn"}]}],
                }
            ],
        )

        def value() -> str:
            body = it.agents["a"].simulation.read(ref("ConfigMap", "settings"))
            return body["data"]["key"] if body is not None else ""

        await it.until("it is there", lambda: value() == "plain")
        await it.hub.admin.members.label("a", {"region": "cn"})
        await it.until("it is another", lambda: value() == "cn")


async def test_an_override_that_does_not_fit_is_refused_with_its_path_and_nothing_is_stored(
    tmp_path: Path,
) -> None:
    async with fleet(tmp_path, a="1x8xH100") as it:
        patch = [{"op": "replace", "path": "/spec/nothing/here", "value": 1}]
        wrong = [{"members": ["a"], "edits": [{"jsonPatch": patch}]}]
        with pytest.raises(InvalidInput) as refused:
            await it.apply("serve", deployment("serve", 2), overrides=wrong)
        assert refused.value.field == "spec.overrides[0].edits[0].jsonPatch[0].path"
        assert [one async for one in it.hub.admin.workloads.list()] == []
        await it.apply("serve", deployment("serve", 2))
        with pytest.raises(InvalidInput):
            await it.apply("serve", deployment("serve", 2), overrides=wrong)
        kept = await it.hub.admin.workloads.get("serve")
        assert (kept.generation, kept.spec.overrides) == (1, b"")


async def test_a_member_that_an_override_does_not_fit_later_is_left_out_and_says_why(tmp_path: Path) -> None:
    patch = [{"op": "replace", "path": "/data/absent", "value": "x"}]
    wrong = [{"selector": {"matchLabels": {"region": "cn"}}, "edits": [{"jsonPatch": patch}]}]
    async with fleet(tmp_path, SITES, a="1x8xH100", b="1x8xH100") as it:
        await it.hub.admin.members.cordon("b")
        await it.apply("settings", config_map("settings"), overrides=wrong)
        await it.hub.admin.members.cordon("b", False)
        await it.apply("after", config_map("after"))
        await it.until("b takes other work", lambda: it.has("b", ref("ConfigMap", "after")))
        told = await it.hub.admin.workloads.explain("settings")
        (left_out,) = told.rejected
        assert (left_out.path, left_out.code) == ("/b", "EXCLUDED")
        assert "spec.overrides[0].edits[0].jsonPatch[0].path" in left_out.sentence
        # where it runs already, a label that makes it unfit changes nothing
        await it.hub.admin.members.label("a", {"region": "cn"})
        assert "OverrideUnfit" in await it.hub.reasons("workload/settings")
        assert it.has("a", ref("ConfigMap", "settings"))
    async with running_hub(tmp_path / "hub") as again:
        assert (await again.admin.workloads.get("settings")).generation == 1


TYPO = Selector({}, (Requirement("tier", "Inn", ("gold",)),))
WRONG: Mapping[str, tuple[dict[str, Any], str]] = {
    "an operator that is none": ({"selector": TYPO}, "selector.matchExpressions[0]"),
    "a value where none belongs": (
        {"selector": Selector({}, (Requirement("tier", "Exists", ("gold",)),))},
        "selector.matchExpressions[0]",
    ),
    "a weight below 0": ({"weights": {"free": -0.5}}, "weights.free"),
    "a weight above 1": ({"weights": {"free": 1.5}}, "weights.free"),
    "a scorer that is none": ({"weights": {"free-gpus": 1.0}}, "weights.free-gpus"),
    "a minimum above the maximum": ({"clusters": 2, "minimum": 3}, "minimum"),
    "more groups than at most": (
        {"spread": [{"label": "site", "minGroups": 3, "maxGroups": 2}]},
        "spread[0].minGroups",
    ),
    "more groups than members": (
        {"clusters": 2, "spread": [{"label": "site", "minGroups": 3}]},
        "spread[0].minGroups",
    ),
    "a spread over no label": ({"spread": [{"label": ""}]}, "spread[0].label"),
    "a word for what is unsatisfiable": (
        {"spread": [{"label": "site", "whenUnsatisfiable": "Ignore"}]},
        "spread[0].whenUnsatisfiable",
    ),
    "a mode that is none": ({"division": {"mode": "even"}}, "division.mode"),
    "weights that a mode does not use": (
        {"division": {"mode": "pack", "weights": [{"weight": 1, "member": "a"}]}},
        "division.weights",
    ),
    "no weights for weighted": ({"division": {"mode": "weighted"}}, "division.weights"),
    "a rule for a member and a selector": (
        {"division": {"mode": "weighted", "weights": [{"weight": 1, "member": "a", "selector": {}}]}},
        "division.weights[0]",
    ),
    "a toleration for ever of another effect": (
        {"tolerations": [{"key": "x", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 3}]},
        "tolerations[0].tolerationSeconds",
    ),
    "an operator of tolerations that is none": (
        {"tolerations": [{"key": "x", "operator": "In"}]},
        "tolerations[0].operator",
    ),
    "an expression that is no CEL": ({"expression": "labels.tier =="}, "expression"),
    "an expression of unknown names": ({"expression": "tier == 'gold'"}, "expression"),
    "an overflow without groups": ({"overflow": True}, "overflow"),
    "a group of nobody": ({"groups": [{"name": "x"}]}, "groups[0]"),
    "a group twice": (
        {"groups": [{"name": "x", "members": ["a"]}, {"name": "x", "members": ["b"]}]},
        "groups[1].name",
    ),
    "a field that is none": ({"cluster": 1}, "cluster"),
    "a weight that is no number": ({"weights": {"cost": float("nan")}}, "weights.cost"),
    "a share of a half": (
        {"division": {"mode": "weighted", "weights": [{"weight": 0.5, "member": "a"}]}},
        "division.weights[0].weight",
    ),
    "a number below 0 where one counts": ({"clusters": -1}, "clusters"),
}


async def test_a_placement_that_makes_no_sense_is_refused_with_its_field_and_nothing_is_stored(
    tmp_path: Path,
) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        for what, (wishes, field) in WRONG.items():
            selector = wishes.get("selector", EVERYWHERE)
            placement = {key: value for key, value in wishes.items() if key != "selector"}
            for dry_run in (False, True):
                with pytest.raises(InvalidInput) as refused:
                    await hub.admin.workloads.apply(
                        "app", [deployment("app", 2)], selector=selector, placement=placement, dry_run=dry_run
                    )
                assert refused.value.field == f"spec.placement.{field}", f"{what}: {refused.value}"
        assert [one async for one in hub.admin.workloads.list()] == []


async def test_gpus_that_no_member_has_ever_shown_are_refused_but_not_those_of_a_lost_member(
    tmp_path: Path,
) -> None:
    quick = {"heartbeat_interval": 0.5, "lease_duration": 1.5, "startup_grace": 0.5}
    async with fleet(tmp_path, settings=quick, a="1x8xH100", b=f"1x4x{T4}") as it:
        await it.agents["b"].kill()
        await it.hub.until("b", Liveness.LOST)
        waits = await it.apply("waits", t4_job("waits"), **ONE)
        assert waits.workload.pending == 1
        typo = t4_job("typo")
        typo["spec"]["template"]["spec"]["nodeSelector"] = {PRODUCT: "H1000"}
        for dry_run in (True, False):
            with pytest.raises(
                InvalidInput, match="nearest known are nvidia H100, nvidia nvidia-tesla-t4"
            ) as refused:
                await it.apply("typo", config_map("settings"), typo, dry_run=dry_run, **ONE)
            assert refused.value.field == "spec.manifests[1]"
        assert [one.name async for one in it.hub.admin.workloads.list()] == ["waits"]


async def test_a_hub_that_knows_no_gpus_refuses_none_and_takes_again_what_it_took(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        where = {"selector": EVERYWHERE, "placement": ONE}
        first = await hub.admin.workloads.apply("early", [t4_job("early")], **where)
        assert first.workload.pending == 1
        async with running_agent(hub, tmp_path, "a", "1x8xH100") as agent:
            await agent.until_online()
            await eventually(
                lambda: (child := hub.hub.inventory.find("a")) and child.sketches, "its GPUs are known"
            )
            again = await hub.admin.workloads.apply("early", [t4_job("early")], **where)
            assert again.outcome == workload_pb2.APPLY_OUTCOME_UNCHANGED
            with pytest.raises(InvalidInput, match="which no member has ever shown"):
                await hub.admin.workloads.apply("late", [t4_job("late")], **where)


async def test_a_workload_that_can_not_be_divided_is_refused_unless_it_goes_whole(tmp_path: Path) -> None:
    async with fleet(tmp_path, a="2x8xH100") as it:
        with pytest.raises(InvalidInput, match="can't be divided") as refused:
            await it.apply("app", deployment("one", 2), deployment("two", 2), division={"mode": "spread"})
        assert refused.value.field == "spec.placement.division"
        whole = await it.apply("train", gang("train", 2, 8), division={"mode": "spread"})
        assert shares(whole.workload) == {"a": 2}
        assert any("not divided" in one for one in whole.explanation.assumptions)


async def test_an_explanation_names_every_member_with_its_scores_or_its_reasons(tmp_path: Path) -> None:
    async with fleet(tmp_path, a="2x8xH100", b="1x8xH100", c="1x8xH100", d="1x4xL4", e="1x8xH100") as it:
        await it.hub.admin.members.cordon("b")
        taint = member_pb2.Taint(key="repair", effect=member_pb2.TAINT_EFFECT_NO_SCHEDULE)
        await it.hub.admin.members.taint("c", set=[taint])
        await it.apply("train", job("train", 8), expression='name != "e"', weights={"free": 0.5}, **ONE)
        await it.until_room("train", {"a": 1})
        told = await it.hub.admin.workloads.explain("train")
        assert told.members == 5
        (best,) = told.scored
        assert (best.path, best.replicas) == ("/a", 1)
        assert sum(part.weight for part in best.parts) == pytest.approx(1.0)
        assert best.total == pytest.approx(sum(part.weight * part.score for part in best.parts), abs=0.01)
        unknown = {part.name for part in best.parts if part.reason}
        assert "cost" in unknown, "nobody told a price"
        why = {one.path: (one.code, one.sentence) for one in reversed(told.rejected)}
        assert why == {
            "/b": ("CORDONED", "is cordoned"),
            "/c": ("TAINTED", "has the taint repair:NoSchedule"),
            "/d": ("FULL", "has 4 free GPUs, too few for a pod of 8 GPUs"),
            "/e": ("EXPRESSION", "does not satisfy the expression"),
        }
        assert dict(told.counts) == {"CORDONED": 1, "TAINTED": 1, "FULL": 1, "EXPRESSION": 1}
        with pytest.raises(NotFound):
            await it.hub.admin.workloads.explain("nobody")


async def test_a_dry_run_stores_nothing_and_shows_what_each_member_would_get(tmp_path: Path) -> None:
    async with fleet(tmp_path, SITES, a="1x8xH100", b="1x8xH100") as it:
        both = (deployment("serve", 5), config_map("settings"))
        told = await it.apply("serve", *both, overrides=OVERRIDES, division={"mode": "spread"}, dry_run=True)
        assert told.outcome == workload_pb2.APPLY_OUTCOME_CREATED
        assert sum(one.replicas for one in told.explanation.scored) == 5
        assert set(told.differences) == {"/a", "/b"}
        assert "registry.cn.example.org" in told.differences["/b"]
        assert "registry.cn.example.org" not in told.differences["/a"]
        with pytest.raises(NotFound):
            await it.hub.admin.workloads.get("serve")
        # nothing is held back for it, either
        full = await it.apply("train", job("train", 8), division={"mode": "spread"})
        assert sum(shares(full.workload).values()) == 1
        second = await it.apply("second", job("second", 8), **ONE)
        assert sum(shares(second.workload).values()) == 1


async def test_a_listed_member_that_does_not_take_it_is_named_in_a_warning(tmp_path: Path) -> None:
    async with fleet(tmp_path, a="1x8xH100", b="1x4xH100") as it:
        answer = await it.apply("train", job("train", 8), selector=None, members=["a", "b", "ghost"])
        assert shares(answer.workload) == {"a": 1}
        assert "b has 4 free GPUs, too few for a pod of 8 GPUs" in answer.warnings
        assert "ghost is not a member of this hub" in answer.warnings
