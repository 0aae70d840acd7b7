"""The builder of the control plane refuses toolchains that don't work, and says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from arbora_hub.kubernetes.multikueue import kinds
from tests.envtest.assets import KUEUE_VERSION, VERSION, cache
from tests.envtest.build import build, check_go, link_flags
from tests.envtest.build_kueue import build_kueue


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("go version go1.26.8 linux/amd64", ""),
        ("go version go1.27.0 linux/amd64", "malformed OpenAPI"),
        ("go version go1.27rc1 linux/arm64", "malformed OpenAPI"),
        ("go version go1.25.3 linux/amd64", "too old"),
        ("something else", "can't read the version"),
    ],
)
def test_only_a_toolchain_that_works_is_taken(answer: str, words: str) -> None:
    wrong = check_go(answer)
    assert words in wrong
    assert bool(wrong) == bool(words)


def test_binaries_are_stamped_with_the_release_of_the_module() -> None:
    module = (Path(__file__).parent / "build" / "go.mod").read_text()
    assert f"k8s.io/kubernetes {VERSION}" in module
    assert f"gitVersion={VERSION}" in link_flags()


def test_without_go_one_line_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="Go is not installed"):
        build(tmp_path / "cache")


def test_the_cache_is_outside_the_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache() == tmp_path / "arbora-envtest" / VERSION


def test_kueue_is_the_release_that_the_hub_was_written_against() -> None:
    module = (Path(__file__).parent / "build-kueue" / "go.mod").read_text()
    assert f"sigs.k8s.io/kueue {KUEUE_VERSION}" in module
    assert kinds.VERSION == KUEUE_VERSION


def test_without_go_kueue_is_left_out_and_one_line_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    assert build_kueue("", tmp_path / "kueue", said.append, manager=False) == "Go is not installed"
    assert not said
