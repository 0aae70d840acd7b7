"""Starts the credential plugin from the tree that this file stands in, and copies that tree elsewhere.

    lib/ld.so --library-path lib bin/python3 -I -S -B plugin.py credential-plugin [OPTIONS]
    lib/ld.so --library-path lib bin/python3 -I -S -B plugin.py install DIR

It is compiled anew at each start, so it is short. What a call does not need is imported where it is used.
"""

import os
import sys

ROOT = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib would be loaded only for this
USAGE = "usage: plugin.py credential-plugin [OPTIONS] | install DIR\n"


def main(arguments: list[str]) -> int:
    """The exit code."""
    sys.path.append(f"{ROOT}/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages")
    # Without one and without a user database, the search for the home folder would end in an exception.
    os.environ.setdefault("HOME", "/")
    if arguments[:1] == ["credential-plugin"]:
        from arbora.cli.credential_plugin import main as plugin

        return plugin(arguments[1:])
    if arguments[:1] == ["install"] and len(arguments) == 2:
        return install(arguments[1])
    sys.stderr.write(USAGE)
    return 2


def install(target: str) -> int:
    """Copy the tree into `target`, over what is there: an init container may run again beside running plugins."""
    import shutil
    from pathlib import Path

    def put(source: Path, place: Path) -> None:
        # A loader or library that is in use must not be written into: a new file takes its name instead.
        scratch = place.with_name(f"{place.name}.new")
        scratch.unlink(missing_ok=True)
        shutil.copy(source, scratch, follow_symlinks=False)
        scratch.replace(place)

    try:
        for folder, _, files in list(os.walk(ROOT)):
            here = Path(target) / Path(folder).relative_to(ROOT)
            here.mkdir(parents=True, exist_ok=True)
            for name in files:
                put(Path(folder, name), here / name)
    except OSError as error:
        sys.stderr.write(f"arbora: the plugin can't be copied to {target}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
