"""The SDK's public names: programs of others are written against them, so a change must be on purpose.

A name that is added is added here, too. One that goes or is renamed needs a line in CHANGELOG.md.
"""

from __future__ import annotations

import inspect

import grpc

import arbora.client
from arbora import errors
from arbora.client import HubClient

EXPORTED = ["HubClient", "Token", "WorkloadDegraded"]
OWN = {"from_context", "close", "address", "info", "rotate_authority", "move", "detach"}
NOUNS = {
    "members": {
        "list": "selector",
        "get": "path",
        "tree": "path depth",
        "watch": "selector",
        "label": "path set remove",
        "taint": "path set remove",
        "cordon": "path cordoned",
        "evict": "path reason",
    },
    "gpus": {
        "list": "path node product health",
        "get": "uuid path history",
        "summarize": "path by selector",
    },
    "workloads": {
        "apply": "name manifests members selector labels placement overrides dry_run",
        "apply_document": "document dry_run",
        "list": "",
        "get": "name",
        "explain": "name",
        "rebalance": "name dry_run",
        "watch": "name",
        "wait": "name state timeout seen",
        "delete": "name orphan",
    },
    "connect_tokens": {"create": "path lifetime name"},
    "tokens": {
        "create": "member namespace service_account audiences lifetime grant cluster_uid",
        "grants": "member",
        "revoke": "member id cluster_uid",
    },
    "events": {"list": "subject", "watch": "subject"},
    "audit": {"list": ""},
    "access": {"create": "name role lifetime", "list": "", "revoke": "name", "whoami": ""},
    "join_tokens": {"create": "name kind labels lifetime uses", "list": "", "revoke": "id"},
}
ERRORS = {
    "ArboraError": ("INTERNAL", 1, False),
    "InvalidInput": ("INVALID_INPUT", 2, False),
    "NotFound": ("NOT_FOUND", 4, False),
    "Conflict": ("CONFLICT", 5, False),
    "Unauthenticated": ("UNAUTHENTICATED", 6, False),
    "PermissionDenied": ("PERMISSION_DENIED", 6, False),
    "Unavailable": ("UNAVAILABLE", 7, True),
    "DeadlineExceeded": ("DEADLINE_EXCEEDED", 8, True),
    "Exhausted": ("EXHAUSTED", 9, True),
    "StorageFailed": ("STORAGE_FAILED", 10, True),
    "Refused": ("REFUSED", 11, False),
}
"""Reason code, exit code of the command line, whether a repetition may help."""


def public(thing: object) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


def test_the_package_exports_these_names() -> None:
    assert sorted(arbora.client.__all__) == EXPORTED


async def test_a_client_has_these_nouns_and_each_of_them_these_calls() -> None:
    async with grpc.aio.insecure_channel("localhost:1") as channel:
        client = HubClient(channel)
        assert public(client) == {*OWN, *NOUNS}
        for noun, calls in NOUNS.items():
            served = getattr(client, noun)
            named = {
                name: " ".join(inspect.signature(getattr(served, name)).parameters) for name in public(served)
            }
            assert named == calls, noun


def test_errors_keep_their_codes() -> None:
    classes = {
        name: (kind.reason, kind.exit_code, kind.retryable)
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.ArboraError)
    }
    assert classes == ERRORS
