"""Shows on a node object that its GPUs are not well: one taint, one condition, and nothing else of the node.

For: `cluster.py`. The member's own allow-list decides whether this is called at all (`nodes/marks.py`), and its
RBAC whether it works. The list of taints has no keys for server-side apply, so it is changed under the object's
resource version and tried again when somebody else was faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from arbora.kubernetes.api import APPLY, MERGE, ApiServer
from arbora.kubernetes.discovery import segment
from arbora.kubernetes.failures import failure
from arbora_agent.cluster.port import CONDITION_TYPE, TAINT_KEY, ClusterUnavailable, NodeMark

ATTEMPTS = 5
MANAGER = "arbora-agent-gpu-health"
_EFFECT = "NoSchedule"


async def show_mark(api: ApiServer, node: str, mark: NodeMark) -> None:
    """Show `mark`; only what differs is written. Raises ObjectRejected, ClusterUnavailable."""
    path = f"/api/v1/nodes/{segment(node)}"
    found = await _node(api, path, node)
    if mark.condition is not None:
        await _show_condition(api, path, node, found, mark)
    if mark.taint is None:
        return
    for _ in range(ATTEMPTS):
        taints = wanted_taints((found.get("spec") or {}).get("taints") or (), mark.taint)
        if taints is None:
            return
        body = {
            "metadata": {"resourceVersion": found["metadata"]["resourceVersion"]},
            "spec": {"taints": taints},
        }
        answer = await api.request("PATCH", path, params={"fieldManager": MANAGER}, body=body, content_type=MERGE)
        if answer.ok:
            return
        if answer.status != 409:
            raise failure(answer.status, answer.body, f"taint of node {node}", answer.retry_after)
        found = await _node(api, path, node)
    raise ClusterUnavailable(f"the taints of node {node} change all the time", hint="Who else sets them?")


def wanted_taints(taints: Any, wanted: bool) -> list[Mapping[str, Any]] | None:
    """The node's taints with ours, or without; None if they are so already."""
    kept = [each for each in taints if each.get("key") != TAINT_KEY]
    if wanted is (len(kept) < len(taints)):
        return None
    return [*kept, {"key": TAINT_KEY, "effect": _EFFECT}] if wanted else kept


async def _node(api: ApiServer, path: str, node: str) -> Mapping[str, Any]:
    answer = await api.request("GET", path)
    if not answer.ok:
        raise failure(answer.status, answer.body, f"node {node}", answer.retry_after)
    return answer.body


async def _show_condition(api: ApiServer, path: str, node: str, found: Mapping[str, Any], mark: NodeMark) -> None:
    status = "True" if mark.condition else "False"
    conditions = (found.get("status") or {}).get("conditions") or ()
    before = next((each for each in conditions if each.get("type") == CONDITION_TYPE), None)
    if before is None and not mark.condition:
        return  # never shown, and nothing to show
    wanted = {"type": CONDITION_TYPE, "status": status, "reason": mark.reason, "message": mark.message[:1000]}
    if before is not None and all(before.get(key) == value for key, value in wanted.items()):
        return
    stays = before is not None and before.get("status") == status
    since = before.get("lastTransitionTime") if before is not None and stays else None
    wanted["lastTransitionTime"] = since or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}, "status": {"conditions": [wanted]}}
    answer = await api.request(
        "PATCH",
        f"{path}/status",
        params={"fieldManager": MANAGER, "force": "true"},
        body=body,
        content_type=APPLY,
    )
    if not answer.ok:
        raise failure(answer.status, answer.body, f"condition of node {node}", answer.retry_after)
