"""Names of what is made for a Fleet: readable, never ambiguous, within Kubernetes' limits. Pure.

Paths and names are joined with dots, which no label of a path has. What would be too long, or ambiguous all the
same, ends with a digest of what it stands for.
"""

from __future__ import annotations

import hashlib
import re

MAX_NAME = 253
MAX_LABEL = 63
_DIGEST = 10


def digest(*parts: str) -> str:
    """Ten hexadecimal digits that stand for these texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_DIGEST]


def label_value(name: str) -> str:
    """A name as the value of a label."""
    return name if len(name) <= MAX_LABEL else f"{name[: MAX_LABEL - _DIGEST - 1].rstrip('-._')}-{digest(name)}"


def cluster_name(fleet: str, path: str) -> str:
    """The MultiKueueCluster of a member, its AuthTokenRequest and its Secret: `training.eu.edge-7`."""
    name = f"{fleet}.{path.strip('/').replace('/', '.')}"
    if "." not in fleet and len(name) <= MAX_NAME:
        return name
    return _shortened(name, MAX_NAME, digest(fleet, path))


def worker_name(fleet: str, path: str) -> str:
    """The Arbora workload that brings a member its queues; a DNS label."""
    stem = re.sub("[^a-z0-9-]", "-", f"kueue-{fleet}-{path.strip('/').replace('/', '-')}")
    return _shortened(stem, MAX_LABEL, digest(fleet, path))


def shard_name(base: str, shard: int) -> str:
    """The config, check and queue of one shard: the base name itself, then `base.2`, `base.3` ..."""
    return base if shard == 0 else f"{base}.{shard + 1}"


def queue_name(local: str, shard: int) -> str:
    """The LocalQueue of one shard: jobs name it in a label, so it is a DNS label."""
    suffix = "" if shard == 0 else f"-{shard + 1}"
    return f"{local[: MAX_LABEL - len(suffix)]}{suffix}"


def flavor_name(base: str, product: str) -> str:
    """The ResourceFlavor of a GPU product."""
    return f"{base}.{re.sub('[^a-z0-9]+', '-', product.lower()).strip('-') or digest(product)}"


def _shortened(name: str, limit: int, end: str) -> str:
    return f"{name[: limit - _DIGEST - 1].rstrip('-.')}-{end}"
