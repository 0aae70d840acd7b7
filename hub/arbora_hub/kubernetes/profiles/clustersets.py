"""Labels of namespaces that say which ClusterSet they hold: under both keys in use, and never over others'.

KEP-4322 says `clusterset.multicluster.x-k8s.io`, its code `multicluster.x-k8s.io/clusterset`; consumers look for
either. What somebody else wrote there stays, and the Fleet says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from arbora.clock import Clock
from arbora.errors import ArboraError
from arbora_hub.kubernetes.collection import Collection
from arbora_hub.kubernetes.controller import Controller
from arbora_hub.kubernetes.kinds import NAMESPACE
from arbora_hub.kubernetes.objects import Objects
from arbora_hub.kubernetes.profiles.profiles import Profiles

log = structlog.get_logger(__name__)

LABELS = ("multicluster.x-k8s.io/clusterset", "clusterset.multicluster.x-k8s.io")
ANNOTATION = "arbora.dev/clusterset-manager"
"""Which manager wrote them, so that it finds them again."""


class ClusterSets:
    """Keeps these labels."""

    def __init__(
        self, objects: Objects, profiles: Profiles, namespaces: Collection, manager: str, clock: Clock
    ) -> None:
        """manager: whose fields they are in server-side apply."""
        self._objects = objects
        self._profiles = profiles
        self._namespaces = namespaces
        self._manager = manager
        self._controller = Controller("ClusterSet", self._pass, clock)
        namespaces.on_change(lambda key: self._controller.add(key[1]))
        profiles.on_fleet(self._fleet_changed)
        self._known: set[str] = set()
        """Namespaces that some Fleet had."""

    async def run(self) -> None:
        """Until cancelled."""
        await self._profiles.ready.wait()
        for body in self._namespaces:
            self._controller.add(str(body["metadata"]["name"]))
        await self._controller.run()

    def _fleet_changed(self, name: str) -> None:
        wanted = set(self._profiles.selection.cluster_sets)
        for namespace in wanted ^ self._known:
            self._controller.add(namespace)
        for namespace in wanted:
            if self._differs(namespace):
                self._controller.add(namespace)
        self._known = wanted

    async def _pass(self, namespace: str) -> float | None:
        body = self._namespaces.get(namespace)
        if not self._profiles.ready.is_set() or body is None or not self._differs(namespace):
            if body is not None:
                self._profiles.refuse_set(namespace, "")
            return None
        cluster_set = self._profiles.selection.cluster_sets.get(namespace)
        try:
            await self._objects.apply(
                NAMESPACE,
                _labelled(body, cluster_set, self._profiles.manager),
                force=False,
                manager=self._manager,
            )
        except ArboraError as error:
            self._profiles.refuse_set(
                namespace, f"namespace {namespace} can't be labelled with its ClusterSet: {error}"
            )
            raise
        self._profiles.refuse_set(namespace, "")
        log.info("clusterset_labelled", namespace=namespace, clusterset=cluster_set or "none")
        return None

    def _differs(self, namespace: str) -> bool:
        body = self._namespaces.get(namespace)
        if body is None or "deletionTimestamp" in body["metadata"]:
            return False
        metadata = body["metadata"]
        labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
        cluster_set = self._profiles.selection.cluster_sets.get(namespace)
        if cluster_set is None:
            return bool(annotations.get(ANNOTATION) == self._profiles.manager)
        return any(labels.get(key) != cluster_set for key in LABELS) or ANNOTATION not in annotations


def _labelled(body: Mapping[str, Any], cluster_set: str | None, manager: str) -> Mapping[str, Any]:
    """What is ours of a namespace; with its uid, so that none is made by that. cluster_set: None: nothing is."""
    metadata: dict[str, Any] = {"name": body["metadata"]["name"], "uid": body["metadata"]["uid"]}
    if cluster_set is not None:
        metadata["labels"] = dict.fromkeys(LABELS, cluster_set)
        metadata["annotations"] = {ANNOTATION: manager}
    return {"metadata": metadata}
