"""A nomination says again what Kueue owns, so that nothing of it is taken away."""

from __future__ import annotations

import json
from typing import Any

from arbora_hub.kubernetes.multikueue.nomination import nomination

RESERVED = {"type": "QuotaReserved", "status": "True", "reason": "QuotaReserved", "message": "yes"}
PODS_READY = {"type": "PodsReady", "status": "False", "reason": "WaitForStart", "message": "no"}


def workload(fields: dict[str, Any] | None, operation: str = "Apply") -> dict[str, Any]:
    entries = [
        {"manager": "kueue", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}},
        {"manager": "kueue-admission", "operation": "Apply", "fieldsV1": {"f:metadata": {"f:labels": {}}}},
    ]
    if fields is not None:
        entry = {"manager": "kueue-admission", "operation": operation, "subresource": "status"}
        entries.append({**entry, "fieldsV1": {"f:status": fields}})
    return {
        "metadata": {
            "name": "train",
            "namespace": "team",
            "uid": "u1",
            "resourceVersion": "42",
            "managedFields": entries,
        },
        "status": {
            "conditions": [RESERVED, PODS_READY],
            "admission": {
                "clusterQueue": "q",
                "podSetAssignments": [{"name": "main", "count": 2, "flavors": {"cpu": "f"}, "more": "of others"}],
            },
            "admissionChecks": [{"name": "check", "state": "Pending"}],
            "nominatedClusterNames": ["before"],
        },
    }


def test_what_kueue_applied_is_said_again_word_for_word_and_nothing_of_others() -> None:
    fields = {
        "f:conditions": {
            'k:{"type":"QuotaReserved"}': {".": {}, "f:type": {}, "f:status": {}, "f:reason": {}, "f:message": {}}
        },
        "f:admission": {
            "f:clusterQueue": {},
            "f:podSetAssignments": {
                'k:{"name":"main"}': {".": {}, "f:name": {}, "f:count": {}, "f:flavors": {"f:cpu": {}}}
            },
        },
        "f:nominatedClusterNames": {},
    }
    body = nomination(workload(fields), ["a", "b"])
    assert body["metadata"] == {"name": "train", "namespace": "team", "uid": "u1", "resourceVersion": "42"}
    assert body["status"] == {
        "conditions": [RESERVED],
        "admission": {
            "clusterQueue": "q",
            "podSetAssignments": [{"name": "main", "count": 2, "flavors": {"cpu": "f"}}],
        },
        "nominatedClusterNames": ["a", "b"],
    }


def test_a_nomination_is_taken_back_by_leaving_it_out() -> None:
    body = nomination(workload({"f:nominatedClusterNames": {}}), [])
    assert body["status"] == {}


def test_where_kueue_uses_merge_patches_only_the_nomination_is_said() -> None:
    for item in (workload(None), workload({"f:conditions": {}}, "Update")):
        assert nomination(item, ["a"])["status"] == {"nominatedClusterNames": ["a"]}


def test_whole_values_empty_structures_and_items_of_sets_are_read() -> None:
    item = workload({"f:whole": {}, "f:empty": {".": {}}, "f:set": {"v:2": {}}, "f:list": {"i:1": {}}})
    item["status"] |= {"whole": {"a": [1]}, "empty": {"x": 1}, "set": [1, 2], "list": ["x", "y"]}
    status = nomination(item, [])["status"]
    assert status == {"whole": {"a": [1]}, "empty": {}, "set": [2], "list": ["y"]}
    assert json.dumps(status)
