"""Where work goes: a real hub decides, real agents run it on simulated clusters.

How much goes where is in `test_placement_capacity.py`, what is refused in `test_placement_wishes.py`.
"""

from __future__ import annotations

from pathlib import Path

from arbora.manifests.selectors import Requirement, Selector
from arbora.v1 import member_pb2
from arbora_hub.inventory.liveness import Liveness
from tests.support.eventually import eventually
from tests.support.hub import config_map, job, running_agent
from tests.support.placing import ONE, T4, Fleet, deployment, fleet, ref, shares, t4_job

NO_SCHEDULE = member_pb2.TAINT_EFFECT_NO_SCHEDULE
NO_EXECUTE = member_pb2.TAINT_EFFECT_NO_EXECUTE


async def test_jobs_that_name_a_gpu_product_only_go_to_members_that_have_it(tmp_path: Path) -> None:
    async with fleet(tmp_path, big="4x8xH100", left=f"1x2x{T4}", right=f"1x2x{T4}") as it:
        for number in range(4):
            name = f"infer-{number}"
            await it.apply(name, t4_job(name), **ONE)
            assert await it.until_placed(name) in ("left", "right")
        await it.until("every T4 is used", lambda: (it.running("left"), it.running("right")) == (2, 2))
        late = await it.apply("late", t4_job("late"), **ONE)
        assert (shares(late.workload), late.workload.pending) == ({}, 1)
        assert any("no such GPU" in reason for reason in late.explanation.reasons)
        assert f"nvidia.com/gpu ({T4})" in late.explanation.wake
        assert it.running("big") == 0


async def test_a_label_for_the_gpu_type_chooses_members_as_well(tmp_path: Path) -> None:
    labels = {"a": {"accelerator": T4}, "b": {"accelerator": "h100"}}
    async with fleet(tmp_path, labels, a=f"1x4x{T4}", b="1x8xH100", c=f"1x4x{T4}") as it:
        answer = await it.apply("infer", t4_job("infer"), selector=Selector({"accelerator": T4}), **ONE)
        assert shares(answer.workload) == {"a": 1}
        await it.until("it runs there", lambda: it.running("a") == 1)


async def test_jobs_go_to_the_member_with_the_most_free_gpus_as_they_fill_up(tmp_path: Path) -> None:
    async with fleet(tmp_path, a="1x8xH100", b="2x8xH100", c="3x8xH100") as it:
        left = {"a": 8, "b": 16, "c": 24}
        for number in range(6):
            name = f"train-{number}"
            await it.apply(name, job(name, 8), weights={"free": 1.0}, **ONE)
            chosen = await it.until_placed(name)
            assert left[chosen] == max(left.values()), f"{name} went to {chosen} of {left}"
            left[chosen] -= 8
            await it.until_room(name, {one: free // 8 for one, free in left.items() if free})
        await it.until_free({"a": 0, "b": 0, "c": 0})
        last = await it.apply("last", job("last", 8), weights={"free": 1.0}, **ONE)
        assert last.workload.pending == 1
        it.agents["b"].simulation.add_nodes("1x8xH100")
        await it.until_shares("last", {"b": 1}, seconds=1.0)


async def test_a_lost_member_gets_nothing_new_and_is_named(tmp_path: Path) -> None:
    quick = {"heartbeat_interval": 0.5, "lease_duration": 1.5, "startup_grace": 0.5}
    async with fleet(tmp_path, settings=quick, a="1x8xH100", b="4x8xH100") as it:
        await it.agents["b"].kill()
        await it.hub.until("b", Liveness.LOST)
        answer = await it.apply("train", job("train", 8), weights={"free": 1.0}, **ONE)
        assert shares(answer.workload) == {"a": 1}
        assert list(answer.warnings) == ["b is lost"]
        listed = await it.apply("app", config_map("app"), selector=None, members=["b"])
        assert (shares(listed.workload), listed.workload.pending) == ({}, 0)
        assert "b is lost" in listed.warnings


async def test_a_cordoned_or_tainted_member_gets_nothing_new_unless_that_is_tolerated(tmp_path: Path) -> None:
    async with fleet(tmp_path, a="1x8xH100", b="1x8xH100", c="1x8xH100") as it:
        await it.hub.admin.members.cordon("a")
        await it.hub.admin.members.taint(
            "b", set=[member_pb2.Taint(key="team", value="vision", effect=NO_SCHEDULE)]
        )
        plain = await it.apply("plain", deployment("plain", 24), division={"mode": "available"})
        assert (shares(plain.workload), plain.workload.pending) == ({"c": 8}, 16)
        assert {"a is cordoned", "b has the taint team=vision:NoSchedule"} <= set(plain.warnings)
        wrong = {"key": "team", "value": "audio", "effect": "NoSchedule"}
        other = await it.apply("other", job("other", 8), tolerations=[wrong], **ONE)
        assert other.workload.pending == 1
        right = {"key": "team", "value": "vision", "effect": "NoSchedule"}
        vision = await it.apply("vision", job("vision", 8), tolerations=[right], **ONE)
        assert shares(vision.workload) == {"b": 1}
        # what is opened is used: first by who waited first
        await it.hub.admin.members.cordon("a", False)
        await it.until_shares("plain", {"a": 8, "c": 8})


async def test_no_execute_drives_work_out_to_where_there_is_room(tmp_path: Path) -> None:
    taint = member_pb2.Taint(key="power", value="off", effect=NO_EXECUTE)
    async with fleet(tmp_path, a="1x8xH100", b="1x8xH100") as it:
        await it.apply("serve", deployment("serve", 8), division={"mode": "spread"})
        stays = {"key": "power", "operator": "Exists", "effect": "NoExecute"}
        await it.apply("tough", deployment("tough", 2), division={"mode": "spread"}, tolerations=[stays])
        await it.until_shares("serve", {"a": 4, "b": 4})
        await it.hub.admin.members.taint("a", set=[taint])
        await it.until("serve has left a", lambda: it.replicas(ref("Deployment", "serve")).keys() == {"b"})
        serve = await it.hub.admin.workloads.get("serve")
        assert shares(serve) == {"b": 7}, "all that b has room for beside its part of tough"
        assert serve.pending == 1
        assert await it.shares("tough") == {"a": 1, "b": 1}


async def test_affinity_groups_are_tried_in_order(tmp_path: Path) -> None:
    groups = [{"name": "own", "members": ["a"]}, {"name": "rented", "members": ["b", "c"]}]
    async with fleet(tmp_path, a="1x8xH100", b="1x8xH100", c="1x8xH100") as it:
        near = await it.apply(
            "near", deployment("near", 6), selector=None, groups=groups, division={"mode": "spread"}
        )
        assert shares(near.workload) == {"a": 6}
        far = await it.apply(
            "far", deployment("far", 6), selector=None, groups=groups, division={"mode": "spread"}
        )
        assert shares(far.workload) == {"b": 3, "c": 3}, "the first group that takes all of it"


async def test_overflow_fills_one_group_after_the_other_and_nothing_moves_back(tmp_path: Path) -> None:
    groups = [{"name": "own", "members": ["a"]}, {"name": "rented", "members": ["b", "c"]}]
    where = {"selector": None, "groups": groups, "overflow": True, "division": {"mode": "spread"}}
    async with fleet(tmp_path, a="1x8xH100", b="1x8xH100", c="1x8xH100", d="1x8xH100") as it:
        first = await it.apply("serve", deployment("serve", 12), **where)
        assert shares(first.workload) == {"a": 8, "b": 2, "c": 2}
        await it.until("all run", lambda: [it.running(one) for one in "abcd"] == [8, 2, 2, 0])
        it.agents["a"].simulation.add_nodes("1x8xH100")
        await it.until_room("serve", {"a": 8, "b": 6, "c": 6})
        again = await it.apply("serve", deployment("serve", 14), **where)
        assert shares(again.workload) == {"a": 10, "b": 2, "c": 2}


SITES = {"a": {"site": "x"}, "b": {"site": "x"}, "c": {"site": "y"}, "d": {"site": "z"}}


async def test_a_spread_over_a_label_keeps_the_skew(tmp_path: Path) -> None:
    async with fleet(tmp_path, SITES, a="1x8xH100", b="1x8xH100", c="1x8xH100", d="1x2xH100") as it:
        spread = [{"label": "site", "maxSkew": 1}]
        answer = await it.apply("serve", deployment("serve", 12), spread=spread, division={"mode": "available"})
        got = shares(answer.workload)
        assert got["d"] == 2
        assert (got.get("a", 0) + got.get("b", 0), got["c"]) == (3, 3), "z takes 2, so x and y may have 3"
        assert answer.workload.pending == 4
        assert any("spread" in reason for reason in answer.explanation.reasons)


async def test_a_spread_uses_as_many_groups_as_asked_for_or_none(tmp_path: Path) -> None:
    async with fleet(tmp_path, SITES, a="1x8xH100", b="1x8xH100", c="1x8xH100", d="1x8xH100") as it:
        two = [{"label": "site", "maxSkew": 20, "minGroups": 2, "maxGroups": 2}]
        answer = await it.apply("pair", deployment("pair", 4), spread=two, division={"mode": "pack"})
        sites = {SITES[name]["site"] for name in shares(answer.workload)}
        assert len(sites) == 2
        assert sum(shares(answer.workload).values()) == 4
        four = [{"label": "site", "maxSkew": 20, "minGroups": 4}]
        none = await it.apply("four", deployment("four", 8), spread=four, division={"mode": "available"})
        assert (shares(none.workload), none.workload.pending) == ({}, 8)
        assert any("3 values of site can take it, and 4 are asked for" in one for one in none.explanation.reasons)


async def test_a_cel_expression_chooses_and_work_that_it_placed_stays_when_the_gpus_fill(tmp_path: Path) -> None:
    labels = {"a": {"tier": "gold"}, "b": {"tier": "gold"}, "c": {}}
    expression = 'labels.tier == "gold" && gpus.exists(g, g.product == "H100" && g.free >= 8)'
    async with fleet(tmp_path, labels, a="1x8xH100", b="1x8xL4", c="1x8xH100") as it:
        answer = await it.apply("train", job("train", 8), expression=expression, **ONE)
        assert shares(answer.workload) == {"a": 1}
        await it.until_free({"a": 0})
        await it.hub.admin.members.label("c", {"seen": "yes"})
        await it.hub.admin.members.label("a", {"seen": "yes"})
        await it.apply("mark", config_map("mark"), selector=Selector({"seen": "yes"}))
        await it.until("the mark is seen", lambda: it.has("a", ref("ConfigMap", "mark")))
        assert await it.shares("train") == {"a": 1}, "its own GPUs are no reason to leave"
        await it.hub.admin.members.label("a", {"tier": "silver"})
        await it.until("it left with the label", lambda: not it.has("a", ref("Job", "train")))


OPERATORS = {
    "In": (Requirement("tier", "In", ("gold", "silver")), {"a", "b"}),
    "NotIn": (Requirement("tier", "NotIn", ("gold",)), {"b", "c"}),
    "Exists": (Requirement("tier", "Exists"), {"a", "b"}),
    "DoesNotExist": (Requirement("tier", "DoesNotExist"), {"c"}),
    "Gt": (Requirement("rank", "Gt", ("1",)), {"b"}),
    "Lt": (Requirement("rank", "Lt", ("2",)), {"a"}),
}


async def test_every_selector_operator_chooses_as_in_kubernetes(tmp_path: Path) -> None:
    labels = {"a": {"tier": "gold", "rank": "1"}, "b": {"tier": "silver", "rank": "2"}, "c": {}}
    async with fleet(tmp_path, labels, a="1x1xL4", b="1x1xL4", c="1x1xL4") as it:
        for name, (requirement, wanted) in OPERATORS.items():
            answer = await it.apply("app", config_map("app"), selector=Selector({}, (requirement,)), dry_run=True)
            found = await _scored(it, answer.explanation.scored)
            assert found == wanted, name


async def _scored(it: Fleet, scored: object) -> set[str]:
    return {one.path.removeprefix("/") for one in scored}  # type: ignore[attr-defined]


async def test_an_agent_that_starts_again_keeps_its_work_and_takes_more(tmp_path: Path) -> None:
    async with fleet(tmp_path, a="2x8xH100", b="1x8xH100") as it:
        await it.apply("serve", deployment("serve", 12), division={"mode": "available"})
        await it.until_shares("serve", {"a": 8, "b": 4})
        await it.until_free({"a": 8, "b": 4})
        await it.agents["a"].kill()
        await it.hub.until("a", Liveness.SUSPECT)
        assert await it.shares("serve") == {"a": 8, "b": 4}, "a lease is not over with the stream"
        async with running_agent(it.hub, tmp_path, "a", simulation=it.agents["a"].simulation) as back:
            await back.until_online()
            await it.hub.until("a", Liveness.ONLINE)
            assert await it.shares("serve") == {"a": 8, "b": 4}
            more = await it.apply("more", job("more", 8), **ONE)
            assert shares(more.workload) == {"a": 1}
            await eventually(lambda: it.running("a") == 16, "it runs beside what was there")
