"""The played libnvidia-ml.so.1 of this process, and a node of one's own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from arbora_agent.gpu.nvml import NvmlReader
from tests.contract.gpu_reader import ONE
from tests.support.nvml.build import Played, build, load, why_not
from tests.support.nvml.node import PlayedNode, h100


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    reason = why_not()
    if reason:
        pytest.skip(reason)
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
    node.add("0", h100(ONE))
    one = NvmlReader()
    one.open()
    yield one
    one.close()
