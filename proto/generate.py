"""Generate pkg/arbora/v1 from proto/arbora/v1; `--check` only says whether what is committed is current.

    python -m proto.generate            write
    python -m proto.generate --check    buf lint, buf breaking, and compare; exit code 1 if something is off

The folder of a .proto file is its import path, so generated imports are right as they are.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
OUTPUT = ROOT / "pkg" / "arbora" / "v1"
HEADER = '"""Generated from proto/arbora/v1 by `make proto`. Never edited by hand."""\n'


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = _generate(Path(folder))
        if arguments == ["--check"]:
            return _check(fresh)
        if arguments:
            sys.stderr.write(__doc__ or "")
            return 2
        shutil.rmtree(OUTPUT, ignore_errors=True)
        shutil.copytree(fresh, OUTPUT)
    print(f"wrote {len(list(OUTPUT.iterdir()))} files to {OUTPUT.relative_to(ROOT)}")
    return 0


def _generate(folder: Path) -> Path:
    files = sorted(str(path.relative_to(PROTO)) for path in PROTO.glob("arbora/v1/*.proto"))
    _run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}"),
            *(f"--{kind}_out={folder}" for kind in ("python", "grpc_python")),
            *(f"--{kind}_out=quiet:{folder}" for kind in ("mypy", "mypy_grpc")),
            *files,
        ]
    )
    output = folder / "arbora" / "v1"
    (output / "__init__.py").write_text(HEADER)
    return output


def _check(fresh: Path) -> int:
    _run(["buf", "lint", str(PROTO)])
    failed = _breaking()
    wanted = {path.name: path.read_bytes() for path in fresh.iterdir()}
    there = {path.name: path.read_bytes() for path in OUTPUT.iterdir() if path.is_file()}
    stale = sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))
    if stale:
        print(f"generated code is not current ({', '.join(stale[:5])}): run `make proto` and commit the result")
    return int(failed or bool(stale))


def _breaking() -> bool:
    """Compare with the last commit on main, where there is one that holds a contract."""
    for branch in ("origin/main", "main"):
        known = subprocess.run(
            ["git", "cat-file", "-e", f"{branch}:proto/buf.yaml"], cwd=ROOT, capture_output=True, check=False
        )
        if known.returncode:
            continue
        with tempfile.TemporaryDirectory() as folder:
            archive = subprocess.run(
                ["git", "archive", branch, "proto"], cwd=ROOT, capture_output=True, check=True
            )
            subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
            result = subprocess.run(
                [_tool("buf"), "breaking", str(PROTO), "--against", f"{folder}/proto"], cwd=ROOT, check=False
            )
            return result.returncode != 0
    print("no earlier contract to compare with")
    return False


def _run(command: list[str]) -> None:
    command = [_tool(command[0]), *command[1:]]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
        raise SystemExit(1)


def _tool(name: str) -> str:
    """A program of this environment, else of the PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else name


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
