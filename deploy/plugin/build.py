"""Builds the tree: this Python, the packages that the credential plugin loads, and their shared libraries.

    python -m deploy.plugin.build DIR        with a Python in which Arbora is installed

    what a call loads (probe.py) -> modules, extension modules -> libraries and loader -> the tree -> probe again

What is built is started as `DIR/lib/ld.so --library-path DIR/lib DIR/bin/python3 -I -S -B DIR/plugin.py ...`,
from wherever the tree lies then; only not as the root folder itself, where Python would not find its library.
At the end the tree itself loads everything, and nothing of that may come from outside.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from deploy.plugin import modules
from deploy.plugin.libraries import Unusable, loader_of, needed

HERE = Path(__file__).parent
FLAGS = ("-I", "-S", "-B")
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"


def command(tree: Path) -> list[str]:
    """How the Python of the tree is started."""
    return [str(tree / "lib/ld.so"), "--library-path", str(tree / "lib"), str(tree / "bin/python3"), *FLAGS]


def build(tree: Path) -> None:
    """Make the tree in a folder that is empty or not there. Raises Unusable."""
    if tree.exists() and any(tree.iterdir()):
        raise Unusable(f"{tree} is not empty")
    standard = Path(sysconfig.get_path("stdlib"))
    folders = [folder for folder in sys.path if folder and Path(folder).is_dir()]
    loaded = _probe([sys.executable, *FLAGS], folders)["modules"]
    library = tree / "lib" / VERSION
    modules.put_standard_library(standard, library)
    for place, source in modules.packages(loaded, standard).items():
        modules.put(source, library / "site-packages" / place)
    program = Path(sys.executable).resolve()
    _put_program(program, tree / "bin" / "python3")
    extensions = sorted(library.rglob("*.so"))
    loader = loader_of(program)
    for name, file in needed(loader, [program, *extensions]).items():
        shutil.copyfile(file, tree / "lib" / name)
    # One name for every architecture, so that one configuration is right for all of them.
    (tree / "lib" / "ld.so").symlink_to(loader.name)
    shutil.copyfile(HERE / "plugin.py", tree / "plugin.py")
    _strip(tree)
    _set_modes(tree, loader.name)
    _prove(tree)


def _put_program(program: Path, target: Path) -> None:
    target.parent.mkdir(parents=True)
    shutil.copyfile(program, target)


def _strip(tree: Path) -> None:
    """Drop what a Python built here holds for debuggers, if the tool is here. Distributions have dropped it."""
    if tool := shutil.which("strip"):
        ours = ("bin/python3", "lib/libpython*.so*", f"lib/{VERSION}/lib-dynload/*.so")
        files = [str(file) for pattern in ours for file in tree.glob(pattern)]
        subprocess.run([tool, "--strip-unneeded", *files], check=True)


def _set_modes(tree: Path, loader: str) -> None:
    """Readable for every user, whoever builds; and only what is started is executable."""
    started = {tree / "bin/python3", tree / "lib" / loader}
    tree.chmod(0o755)
    for path in tree.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path in started else 0o644)


def _probe(python: list[str], folders: list[str]) -> dict[str, Any]:
    """What the Python loads for a call."""
    done = subprocess.run(
        [*python, str(HERE / "probe.py"), *folders],
        env={"HOME": "/"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        raise Unusable(f"{python[0]} can't load the plugin:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _prove(tree: Path) -> None:
    """Let the tree load everything. Raises Unusable if a module or a library of that is not its own."""
    found = _probe(command(tree), [str(tree / "lib" / VERSION / "site-packages")])
    libraries = [file for file in found["mapped"] if ".so" in Path(file).name]
    strange = [
        file
        for file in (*found["modules"].values(), *libraries)
        if not Path(file).resolve().is_relative_to(tree.resolve())
    ]
    if strange:
        raise Unusable(f"the tree still loads {', '.join(strange)}")


def main(arguments: list[str]) -> int:
    """The exit code."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write("usage: python -m deploy.plugin.build DIR\n")
        return 2
    tree = Path(arguments[0]).absolute()
    try:
        build(tree)
    except Unusable as error:
        sys.stderr.write(f"the tree can't be built: {error}\n")
        return 1
    size = sum(file.stat().st_size for file in tree.rglob("*") if not file.is_symlink() and file.is_file())
    sys.stdout.write(f"{tree}: {size / 1e6:.1f} MB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
