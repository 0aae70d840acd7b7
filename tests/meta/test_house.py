"""The house rules that a machine can check: layers, sizes, docstrings, a policy row for every RPC."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from arbora.rpc import policy
from arbora_hub.ports import CONTRACT

ROOT = Path(__file__).resolve().parents[2]
CODE = ("pkg/arbora", "hub/arbora_hub", "agent/arbora_agent")
GENERATED = ROOT / "pkg" / "arbora" / "v1"
MAX_LINES = 400

MODULES = sorted(
    path for folder in CODE for path in (ROOT / folder).rglob("*.py") if GENERATED not in path.parents
)
VAGUE = {"manager", "util", "utils", "helper", "helpers", "common", "base", "misc"}


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_code_to_look_at() -> None:
    assert len(MODULES) > 100


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_a_module_is_small_says_what_it_is_for_and_has_a_telling_name(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MAX_LINES
    assert ast.get_docstring(ast.parse(text)), "no docstring"
    assert not VAGUE & set(path.stem.split("_"))


def test_dependencies_point_one_way() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=19, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_a_broken_contract_is_noticed(tmp_path: Path) -> None:
    config = tmp_path / "broken.toml"
    config.write_text(
        '[tool.importlinter]\nroot_packages = ["arbora", "arbora_hub"]\n'
        '[[tool.importlinter.contracts]]\nname = "broken on purpose"\ntype = "forbidden"\n'
        'source_modules = ["arbora_hub"]\nforbidden_modules = ["arbora"]\n',
        encoding="utf-8",
    )
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--config", str(config)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=19, check=False)
    assert done.returncode == 1
    assert "broken on purpose BROKEN" in done.stdout


def test_every_rpc_has_a_row_in_the_policy_table_and_no_row_is_left_over() -> None:
    served = {
        f"/{service.full_name}/{method.name}"
        for file in CONTRACT
        for service in file.services_by_name.values()
        for method in service.methods
    }
    policy.check_complete(served)
    ours = {name for name in policy.POLICY if name.startswith("/arbora.")}
    assert ours == served


def test_an_rpc_without_a_row_fails_at_start() -> None:
    with pytest.raises(RuntimeError, match=r"/arbora\.v1\.Some/New"):
        policy.check_complete(["/arbora.v1.Some/New"])


def test_every_contract_file_is_known_to_the_hub() -> None:
    written = {path.name for path in (ROOT / "proto" / "arbora" / "v1").glob("*.proto")}
    with_services = {
        name for name in written if "\nservice " in (ROOT / "proto" / "arbora" / "v1" / name).read_text("utf-8")
    }
    assert with_services == {Path(file.name).name for file in CONTRACT if file.services_by_name}


def test_protobuf_runs_on_its_fast_and_safe_implementation() -> None:
    # the pure Python one recurses as deep as a peer wants (CVE-2025-4565)
    from google.protobuf.internal import api_implementation

    assert api_implementation.Type() == "upb"
