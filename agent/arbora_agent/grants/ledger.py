"""The ledger: which grant uses which objects, and which of them we made. Pure.

One entry per grant, written before anything is made, as JSON in a ConfigMap (`cluster/rights.py`). Of each object
that a grant uses it says one of three things:

    None      it was there: it is not ours, and is never deleted
    ""        it is about to be made: it is ours if it is there and carries our label (a crash came in between)
    a uid     we made exactly this object

and says the same in every entry that uses the object, so that the last grant that goes knows what it may delete.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from arbora.errors import Conflict, Exhausted
from arbora.manifests.objects import ObjectRef
from arbora_agent.cluster.rights import GRANT_LEDGER, KINDS, NAMESPACE, Standing
from arbora_agent.grants.model import AskedRole, Grant

MAX_GRANTS = 500
"""Grants that a member keeps at most."""
MAX_BYTES = 800_000
"""Of all entries together; a ConfigMap holds 1 MiB."""

_UID_BYTES = 36

Origin = str | None
"""None, empty, or a uid; see above."""
_KINDS = {gvk.kind: gvk for gvk in KINDS}


@dataclass(frozen=True, slots=True)
class Entry:
    """One grant; its roles are without rules."""

    grant: Grant
    objects: Mapping[ObjectRef, Origin]


@dataclass(frozen=True, slots=True)
class Ledger:
    """All grants by id."""

    entries: Mapping[str, Entry] = field(default_factory=dict)

    def users(self, ref: ObjectRef) -> frozenset[str]:
        """Ids of the grants that use an object."""
        return frozenset(id for id, entry in self.entries.items() if ref in entry.objects)

    def is_ours(self, ref: ObjectRef, found: Standing) -> bool:
        """Whether we made the object that is there."""
        origins = {entry.objects[ref] for entry in self.entries.values() if ref in entry.objects}
        return found.uid in origins or ("" in origins and bool(found.grant))

    def with_grant(self, grant: Grant, refs: Iterable[ObjectRef]) -> Ledger:
        """With an entry for the grant that uses also these objects; what was known of them stays known."""
        before = self.entries.get(grant.id)
        objects = dict(before.objects) if before is not None else {}
        for ref in refs:
            objects.setdefault(ref, None)
        bare = [tuple(AskedRole(each.namespace, each.name) for each in asked) for asked in _both(grant)]
        return self._with(Entry(replace(grant, roles=bare[0], cluster_roles=bare[1]), objects))

    def marked(self, ref: ObjectRef, origin: Origin) -> Ledger:
        """With the origin of an object in every entry that uses it."""
        marked = {
            id: replace(entry, objects={**entry.objects, ref: origin}) if ref in entry.objects else entry
            for id, entry in self.entries.items()
        }
        return Ledger(marked)

    def released(self, id: str, refs: Iterable[ObjectRef]) -> tuple[tuple[ObjectRef, str], ...]:
        """Of objects that a grant no longer uses those to delete, each with its uid or "", in that order.

        What we did not make stays, what another grant uses, and every namespace, as nobody can know what else is
        in it.
        """
        objects = self.entries[id].objects
        gone = [ref for ref in refs if ref.gvk != NAMESPACE and self.users(ref) == {id}]
        ordered = sorted(gone, key=lambda ref: (-KINDS.index(ref.gvk), ref))
        return tuple((ref, origin) for ref in ordered if (origin := objects[ref]) is not None)

    def using_only(self, id: str, refs: Iterable[ObjectRef]) -> Ledger:
        """With an entry that uses these objects and no others."""
        entry, kept = self.entries[id], frozenset(refs)
        return self._with(replace(entry, objects={r: o for r, o in entry.objects.items() if r in kept}))

    def without(self, id: str) -> Ledger:
        """Without a grant."""
        return Ledger({each: entry for each, entry in self.entries.items() if each != id})

    def made_for(self, id: str) -> tuple[str, ...]:
        """What revoking the grant would delete, such as `ServiceAccount team/runner`, sorted."""
        return tuple(sorted(str(ref) for ref, _ in self.released(id, self.entries[id].objects)))

    def changes_to(self, after: Ledger) -> dict[str, str | None]:
        """What to write where, to come to `after`; None removes. Raises Exhausted if it has no room."""
        texts = {id: _write(entry) for id, entry in after.entries.items()}
        if len(texts) > max(MAX_GRANTS, len(self.entries)):
            raise Exhausted(f"this member keeps {MAX_GRANTS} grants at most; revoke one that is no longer needed")
        changed: dict[str, str | None] = {
            id: text for id, text in texts.items() if after.entries[id] != self.entries.get(id)
        }
        if changed and sum(_room(after.entries[id], text) for id, text in texts.items()) > MAX_BYTES:
            raise Exhausted("the grants of this member take too much room; revoke one that is no longer needed")
        return changed | {id: None for id in self.entries if id not in texts}

    def _with(self, entry: Entry) -> Ledger:
        return Ledger({**self.entries, entry.grant.id: entry})


def read(data: Mapping[str, str]) -> Ledger:
    """The ledger of a ConfigMap's data. Raises Conflict naming the entry that somebody has damaged."""
    entries = {}
    for id, text in sorted(data.items()):
        try:
            entries[id] = _read(id, json.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            # Without this entry nobody can tell which objects are still in use, so nothing may go on.
            raise Conflict(
                f"the entry {id[:63]} of the ConfigMap {GRANT_LEDGER} can't be read",
                hint="Restore it, or remove the key and delete what carries the label arbora.dev/grant by hand.",
            ) from error
    return Ledger(entries)


def _both(grant: Grant) -> tuple[tuple[AskedRole, ...], tuple[AskedRole, ...]]:
    return grant.roles, grant.cluster_roles


def _write(entry: Entry) -> str:
    grant = entry.grant
    objects = [
        [ref.gvk.kind, ref.namespace, ref.name, origin]
        for ref, origin in sorted(entry.objects.items(), key=_first)
    ]
    said = {
        "namespace": grant.namespace,
        "serviceAccount": grant.service_account,
        "requester": grant.requester,
        "roles": [[each.namespace, each.name] for each in grant.roles],
        "clusterRoles": [each.name for each in grant.cluster_roles],
        "objects": objects,
    }
    return json.dumps(said, separators=(",", ":"))


def _room(entry: Entry, text: str) -> int:
    """Bytes that it takes, with the uids that are still to come."""
    return len(text) + sum(_UID_BYTES for origin in entry.objects.values() if origin == "")


def _first(item: tuple[ObjectRef, Origin]) -> ObjectRef:
    return item[0]


def _read(id: str, said: Mapping[str, Any]) -> Entry:
    grant = Grant(
        id,
        _text(said["namespace"]),
        _text(said["serviceAccount"]),
        tuple(AskedRole(_text(namespace), _text(name)) for namespace, name in said["roles"]),
        tuple(AskedRole("", _text(name)) for name in said["clusterRoles"]),
        _text(said["requester"]),
    )
    objects = {
        ObjectRef(_KINDS[kind], _text(namespace), _text(name)): None if origin is None else _text(origin)
        for kind, namespace, name, origin in said["objects"]
    }
    return Entry(grant, objects)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value
