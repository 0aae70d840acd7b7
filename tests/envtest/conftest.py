"""One real control plane for all tests of this folder; where there is none, one line says how to get it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.envtest.assets import KUEUE_MISSING, MISSING, find, find_kueue
from tests.envtest.controlplane import ControlPlane
from tests.envtest.driver import Driver

pytest.register_assert_rewrite("tests.contract.cluster", "tests.contract.cluster_world")

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark these tests; the time limit is a test's own, without the wait for the control plane.

    Without a control plane, or without Kueue, one of those that need it is skipped and speaks for all, so that
    the summary has one line.
    """
    ours = [item for item in items if HERE in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.envtest)
        item.add_marker(pytest.mark.timeout(20, func_only=True))
    needing = [item for item in ours if "plane" in getattr(item, "fixturenames", ())]
    if needing and find() is None:
        _leave_out(config, items, needing, f"{len(needing)} envtest tests: {MISSING}")
        return
    kueue = find_kueue()
    for fixture, there in (("kueue_crds", kueue is not None), ("kueues", kueue is not None and kueue.manager)):
        those = [item for item in needing if fixture in getattr(item, "fixturenames", ())]
        if those and not there:
            _leave_out(config, items, those, f"{len(those)} tests of MultiKueue: {KUEUE_MISSING}")


def _leave_out(config: pytest.Config, items: list[pytest.Item], needing: list[pytest.Item], reason: str) -> None:
    first, *others = needing
    first.add_marker(pytest.mark.skip(reason=reason))
    left_out = set(others)
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=others)


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    """A control plane of etcd, kube-apiserver and kube-controller-manager."""
    plane = ControlPlane()
    with asyncio.Runner() as runner:
        runner.run(plane.start())
    logging.getLogger(__name__).info("control plane at %s", plane.server)
    yield plane
    with asyncio.Runner() as runner:
        runner.run(plane.stop())


@pytest.fixture
async def driver(plane: ControlPlane) -> AsyncIterator[Driver]:
    """Its admin."""
    async with Driver(plane) as driver:
        yield driver
