"""Takes Kueue's CRDs out of its Go module, and builds its manager if that is wanted, once: for `build.py`.

The module is pinned in `build-kueue/go.mod`; Kueue is under the Apache License 2.0, which is copied beside. The
CRDs are written as JSON, since the largest takes seconds to read as YAML. Without Go, or without the module,
one line says so, and the tests that need Kueue are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import yaml

MODULE = Path(__file__).parent / "build-kueue"
PACKAGE = "sigs.k8s.io/kueue"
CRDS = "config/components/crd/bases"


def build_kueue(go: str, target: Path, say: Callable[[str], None], *, manager: bool) -> str:
    """Fill `target` with what is missing there. Returns why that can't be done, or an empty string.

    manager: it, too, which takes minutes.
    """
    if (not manager or (target / "kueue").exists()) and any((target / "crds").glob("*.json")):
        say(f"envtest {target.name}: all there in {target}")
        return ""
    if not go:
        return "Go is not installed"
    environ = {**os.environ, "CGO_ENABLED": "0"}
    source = subprocess.run(
        [go, "mod", "download", "-json", PACKAGE],
        cwd=MODULE,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if source.returncode != 0:
        return f"its module can't be had: {source.stderr.strip() or source.stdout.strip()}"
    folder = Path(json.loads(source.stdout)["Dir"])
    target.mkdir(parents=True, exist_ok=True)
    _take_crds(folder, target)
    if not manager:
        return ""
    say(f"envtest {target.name}: building kueue (minutes) ...")
    unfinished = target / f".kueue.{os.getpid()}"
    command = [go, "build", "-mod=readonly", "-trimpath", "-ldflags", "-s -w", "-o", str(unfinished)]
    if subprocess.run([*command, f"{PACKAGE}/cmd/kueue"], cwd=MODULE, env=environ, check=False).returncode != 0:
        unfinished.unlink(missing_ok=True)
        return "building it failed; what Go said is above"
    unfinished.rename(target / "kueue")
    return ""


def _take_crds(source: Path, target: Path) -> None:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    unfinished = target / f".crds.{os.getpid()}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for file in sorted((source / CRDS).glob("*.yaml")):
        definition = yaml.load(file.read_text(), loader)
        (unfinished / f"{file.stem}.json").write_text(json.dumps(definition))
    shutil.copy(source / "LICENSE", unfinished / "LICENSE")
    shutil.rmtree(target / "crds", ignore_errors=True)
    unfinished.rename(target / "crds")
