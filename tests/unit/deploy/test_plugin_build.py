"""What goes into the credential plugin's tree, and what stops a build. That the tree runs: tests/integration."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.plugin import modules
from deploy.plugin.build import main
from deploy.plugin.libraries import Unusable, needed


def test_a_package_comes_whole_and_of_a_namespace_only_what_was_loaded(tmp_path: Path) -> None:
    standard, site = tmp_path / "lib", tmp_path / "lib" / "site-packages"
    for name in (
        "whole/__init__.py",
        "whole/deep/part.py",
        "space/loaded/__init__.py",
        "space/other/x.py",
        "one.so",
    ):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).touch()
    loaded = {
        "json": str(standard / "json.py"),
        "whole.deep.part": str(site / "whole" / "deep" / "part.py"),
        "space.loaded": str(site / "space" / "loaded" / "__init__.py"),
        "one": str(site / "one.so"),
    }
    assert modules.packages(loaded, standard) == {
        "one.so": site / "one.so",
        "space/loaded": site / "space" / "loaded",
        "whole": site / "whole",
    }


def test_a_tree_is_never_built_over_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").touch()
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"the tree can't be built: {tmp_path} is not empty\n"
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err


def test_a_library_that_is_missing_stops_the_build(tmp_path: Path) -> None:
    loader = tmp_path / "ld-test.so"
    loader.write_text("#!/bin/sh\necho '\tlibgone.so.1 => not found'\n")
    loader.chmod(0o755)
    with pytest.raises(Unusable, match=r"x\.so needs what is not here: libgone\.so\.1"):
        needed(loader, [tmp_path / "x.so"])
