"""The builder of the control plane refuses toolchains that don't work, and says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.envtest.assets import VERSION, cache
from tests.envtest.build import build, check_go, link_flags


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
