"""Only what is ours is changed or deleted, and only where something differs."""

from __future__ import annotations

import copy
from typing import Any

from arbora_hub.kubernetes.multikueue.kinds import ADMISSION_CHECK, MULTIKUEUE_CLUSTER, MULTIKUEUE_CONFIG
from arbora_hub.kubernetes.multikueue.ownership import Change, Create, changes, stamped
from arbora_hub.kubernetes.multikueue.plan import planned
from tests.support.kueue_fleets import T4, member
from tests.unit.multikueue.situations import FLEET, situation

WANTED = planned(situation(member("/a", (T4, 4, 4)), written={}), 0.0).wanted


def there() -> dict[Any, list[dict[str, Any]]]:
    """Everything as the API server has it after it was written, with what it adds itself."""
    found: dict[Any, list[dict[str, Any]]] = {}
    for number, one in enumerate(WANTED):
        body = copy.deepcopy(stamped(one.body))
        body["metadata"] |= {"uid": f"uid-{number}", "generation": 1}
        body["status"] = {"conditions": []}
        found.setdefault(one.kind, []).append(body)
    return found


def test_what_is_missing_is_created_in_the_order_in_which_it_is_needed() -> None:
    due = changes(FLEET, WANTED, {})
    assert all(isinstance(one, Create) for one in due.writes)
    assert [one.kind.gvk.kind for one in due.writes] == [
        "AuthTokenRequest",
        "MultiKueueCluster",
        "MultiKueueConfig",
        "AdmissionCheck",
    ]


def test_what_is_as_it_has_to_be_is_left_alone() -> None:
    due = changes(FLEET, WANTED, there())
    assert not due.writes
    assert not due.deletions


def test_what_somebody_changed_is_put_right_by_uid() -> None:
    found = there()
    found[MULTIKUEUE_CONFIG][0]["spec"]["clusters"] = ["others"]
    (one,) = changes(FLEET, WANTED, found).writes
    assert isinstance(one, Change)
    assert one.body["metadata"]["uid"] == found[MULTIKUEUE_CONFIG][0]["metadata"]["uid"]


def test_a_field_that_is_not_wanted_any_more_is_noticed_though_all_the_rest_is_there() -> None:
    found = there()
    found[MULTIKUEUE_CLUSTER][0]["metadata"]["annotations"] |= {
        "arbora.dev/draining-since": "1",
        "arbora.dev/applied": "of the body with it",
    }
    (one,) = changes(FLEET, WANTED, found).writes
    assert one.kind is MULTIKUEUE_CLUSTER


def test_an_object_of_others_with_a_wanted_name_is_reported_and_neither_changed_nor_deleted() -> None:
    found = there()
    found[ADMISSION_CHECK][0]["metadata"]["labels"] = {}
    due = changes(FLEET, WANTED, found)
    assert (due.writes, due.deletions, due.foreign) == ((), (), (f"AdmissionCheck {FLEET}",))
    assert ADMISSION_CHECK not in [one.kind for one in changes(FLEET, (), found).deletions]


def test_what_is_not_wanted_any_more_goes_in_the_other_order_and_what_goes_already_is_not_asked_again() -> None:
    found = there()
    found[MULTIKUEUE_CONFIG][0]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    due = changes(FLEET, (), found)
    assert [one.kind.gvk.kind for one in due.deletions] == [
        "AdmissionCheck",
        "MultiKueueCluster",
        "AuthTokenRequest",
    ]
    assert all(one.uid for one in due.deletions)
    assert not changes("other", (), found).deletions
