"""Whatever happens on the way, the cluster ends up as the newest assignment says, and the last report says so."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from arbora.workloads.model import Assignment, State
from arbora_agent.cluster.port import ObjectRejected
from arbora_agent.cluster.simulated import Simulation
from tests.unit.agent.stage import Stage, assignment, config_map, quiet, ref

NAMES = ("a", "b", "c")
Action = tuple[str, Any]

contents = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["red", "green"]), min_size=1)
actions: st.SearchStrategy[Action] = st.one_of(
    st.tuples(st.just("assign"), contents),
    st.tuples(st.just("withdraw"), st.none()),
    st.tuples(st.just("outage"), st.sampled_from([0.1, 5.0, 90.0])),
    st.tuples(st.just("change"), st.sampled_from(NAMES)),
    st.tuples(st.just("remove"), st.sampled_from(NAMES)),
    st.tuples(st.just("restart"), st.none()),
    st.tuples(st.just("turn"), st.integers(1, 5)),
    st.tuples(st.just("wait"), st.sampled_from([0.01, 1.0, 40.0])),
)


def disturb(simulation: Simulation, action: str, value: Any) -> None:
    """What somebody else does."""
    if action == "outage":
        simulation.fail_api(value)
    elif action == "remove":
        simulation.remove(ref("ConfigMap", value))
    elif action == "change":
        try:
            simulation.change(ref("ConfigMap", value), {"data": {"colour": "theirs"}})
        except ObjectRejected:
            assert simulation.read(ref("ConfigMap", value)) is None


async def play(script: list[Action]) -> tuple[Stage, Assignment]:
    """Go through `script`, then leave everything in peace for a while."""
    simulation = Stage("").simulation
    newest = assignment(config_map("a", colour="red"))
    remaining = iter([*script, ("end", None)])
    while True:
        stage = Stage(simulation=simulation)
        async with stage.running(synced=False):
            stage.reconciler.desired(newest)
            for action, value in remaining:
                generation = newest.generation + 1
                if action == "assign":
                    parts = (config_map(name, colour=colour) for name, colour in value.items())
                    newest = assignment(*parts, generation=generation)
                elif action == "withdraw":
                    newest = assignment(generation=generation, withdrawn=True)
                elif action == "turn":
                    for _ in range(value):
                        await asyncio.sleep(0)
                elif action == "wait":
                    await stage.pass_time(value)
                elif action in ("restart", "end"):
                    break
                else:
                    disturb(simulation, action, value)
                stage.reconciler.desired(newest)
            if action == "end":
                await stage.pass_time(1_000)
                await quiet()
                return stage, newest


disturbances: st.SearchStrategy[Action] = st.tuples(st.sampled_from(["change", "remove"]), st.sampled_from(NAMES))


@settings(max_examples=200, deadline=None)
@given(st.lists(actions, max_size=12), st.lists(disturbances, max_size=3))
def test_the_cluster_ends_up_as_the_newest_assignment_says(script: list[Action], finale: list[Action]) -> None:
    stage, newest = asyncio.run(play([*script, ("wait", 200.0), *finale]))
    found = {
        key.name: body["data"]["colour"]
        for key in stage.simulation.places()
        if key.kind == "ConfigMap" and (body := stage.simulation.get(key)) is not None
    }
    assert found == {each["metadata"]["name"]: each["data"]["colour"] for each in newest.manifests}
    last = stage.last()
    assert last is not None
    assert last.generation == newest.generation
    assert last.state is (State.DELETED if newest.withdrawn else State.AVAILABLE)
