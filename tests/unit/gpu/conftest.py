"""The played libnvidia-ml.so.1 of this process, and a node of one's own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from arbora_agent.gpu.nvml import NvmlReader
from tests.support.nvml.build import Played, build, load, why_not
from tests.support.nvml.node import PlayedNode, h100

pytest.register_assert_rewrite("tests.contract.gpu_reader")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without a compiler one of the tests that need it is skipped and speaks for all."""
    needing = [item for item in items if "played" in getattr(item, "fixturenames", ())]
    reason = why_not()
    if needing and reason:
        first, *others = needing
        first.add_marker(pytest.mark.skip(reason=f"{len(needing)} tests: {reason}"))
        left_out = set(others)
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=others)


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    return load(build(tmp_path_factory.mktemp("nvml")))


@pytest.fixture
def node(played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedNode]:
    """What the library plays during this test. At its end nobody has it open, and nobody has misused it."""
    path = tmp_path / "node"
    made = PlayedNode(path)
    monkeypatch.setenv("FAKE_NVML", str(path))
    yield made
    assert played.initialised == 0
    assert played.misused == 0


@pytest.fixture
def reader(node: PlayedNode) -> Iterator[NvmlReader]:
    """Of a node with one device."""
    node.add("0", h100("GPU-1"))
    one = NvmlReader()
    one.open()
    yield one
    one.close()
