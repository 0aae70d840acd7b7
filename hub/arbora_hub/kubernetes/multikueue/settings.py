"""What a Fleet says about MultiKueue: `spec.multiKueue`, read and checked. Pure.

namespace: kueue-system         # Kueue's own, here and in the members
name: training                  # of config, check and queue; default: the Fleet's
jobKinds: [trainjobs]           # beyond those that Kueue's own script allows
expirationSeconds: 3600         # of the tokens
queues:                         # what jobs are sent to, here; left out: none are made
  namespaces: [team-a]
  localQueue: training
  quota: {cpu: "100"}           # default: the members' sum
workers:                        # the same in each member; left out: none are made
  createNamespaces: false
  quota: {}                     # default: what the member has
dispatch:                       # left out: the defaults
  by: arbora                    # or kueue: its own dispatcher
  retryAfterSeconds: 60
  weights: {free: 1.0}
removal:
  afterSeconds: 3600            # default: never while something runs there
  cordoned: false               # whether a cordon means: drain it and take it out
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from arbora.capacity.kinds.field import Field
from arbora.capacity.quantity import parse
from arbora.errors import InvalidInput
from arbora.identity.names import check_name
from arbora_hub.kubernetes.multikueue.names import MAX_LABEL, label_value
from arbora_hub.kubernetes.multikueue.rights import FURTHER_KINDS
from arbora_hub.placement.policy import Policy
from arbora_hub.placement.validate import validate

ARBORA, KUEUE = "arbora", "kueue"
MIN_TOKEN, MAX_TOKEN = 600, 24 * 3600
MIN_RETRY, MAX_RETRY = 5, 24 * 3600
MAX_NAMESPACES = 200
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
FIELD = "spec.multiKueue"

Amounts = Mapping[str, str]
"""Resource name -> quantity."""


@dataclass(frozen=True, slots=True)
class Queues:
    """What jobs are sent to, in the cluster where Kueue's manager is."""

    namespaces: tuple[str, ...]
    local_queue: str
    quota: Amounts = field(default_factory=dict)
    """What is not named is the sum of the members'."""


@dataclass(frozen=True, slots=True)
class Workers:
    """Queues of the same names in each member."""

    create_namespaces: bool = False
    """Whether the namespaces are brought, too; they go again with the member, and all that is in them."""
    quota: Amounts = field(default_factory=dict)
    """What is not named is what the member has."""


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Who chooses the member."""

    by: str = ARBORA
    retry_after: float = 60.0
    """Seconds that a nominated member has to admit a job before the next is nominated."""
    weights: Mapping[str, float] = field(default_factory=lambda: {"free": 1.0})
    """Of the placement's scorers."""


@dataclass(frozen=True, slots=True)
class Removal:
    """When a member that is to go leaves Kueue's configuration."""

    after: float | None = None
    """Seconds after which it goes although jobs run there, which then run twice; None: never."""
    cordoned: bool = False
    """Whether a cordoned member is to go."""


@dataclass(frozen=True, slots=True)
class MultiKueueSettings:
    """One Fleet's."""

    name: str
    namespace: str = "kueue-system"
    job_kinds: tuple[str, ...] = ()
    token_seconds: int = 3600
    queues: Queues | None = None
    workers: Workers | None = None
    dispatch: Dispatch = field(default_factory=Dispatch)
    removal: Removal = field(default_factory=Removal)


def read_settings(fleet: str, written: Mapping[str, Any]) -> MultiKueueSettings:
    """From the object's `spec.multiKueue`. Raises InvalidInput with the path of the field that is wrong."""
    root = _known(
        Field(written, ("spec", "multiKueue")),
        "namespace",
        "name",
        "jobKinds",
        "expirationSeconds",
        "queues",
        "workers",
        "dispatch",
        "removal",
    )
    name = root.at("name").text(fleet)
    if len(name) > MAX_LABEL * 3 or not _SUBDOMAIN.fullmatch(name):
        raise root.at("name").error(f"{name!r} is not a name", hint="Use lower-case letters, digits and dashes.")
    kinds = root.at("jobKinds").texts()
    for index, kind in enumerate(kinds):
        if kind not in FURTHER_KINDS:
            raise InvalidInput(
                f"{kind!r} is not a further kind",
                field=f"{FIELD}.jobKinds[{index}]",
                hint=f"Those of Kueue's own script need not be named; others are {', '.join(FURTHER_KINDS)}.",
            )
    queues = _queues(root.at("queues"), name)
    workers = _workers(root.at("workers"))
    if workers is not None and queues is None:
        raise root.at("workers").error("needs queues", hint=f"Say in {FIELD}.queues which namespaces have them.")
    return MultiKueueSettings(
        name=name,
        namespace=check_name(root.at("namespace").text("kueue-system"), f"{FIELD}.namespace"),
        job_kinds=tuple(sorted(set(kinds))),
        token_seconds=_within(root.at("expirationSeconds"), 3600, MIN_TOKEN, MAX_TOKEN),
        queues=queues,
        workers=workers,
        dispatch=_dispatch(root.at("dispatch")),
        removal=_removal(root.at("removal")),
    )


def check_lasting(before: MultiKueueSettings, after: MultiKueueSettings) -> None:
    """Raise InvalidInput where something changed that must not while there are objects of it.

    Under another name, or in another namespace, everything would be made anew, and what runs would belong to
    configs that are gone.
    """
    for one, was, now in (("name", before.name, after.name), ("namespace", before.namespace, after.namespace)):
        if was != now:
            raise InvalidInput(
                f"was {was!r} and can't become {now!r} while there are objects of it",
                field=f"{FIELD}.{one}",
                hint="Take multiKueue out of the Fleet, wait until it has drained, and put it in anew.",
            )


def _queues(at: Field, name: str) -> Queues | None:
    if at.absent:
        return None
    _known(at, "namespaces", "localQueue", "quota")
    namespaces = at.at("namespaces").texts()
    if not 0 < len(namespaces) <= MAX_NAMESPACES:
        raise at.at("namespaces").error(
            f"names {len(namespaces)} namespaces, not 1 to {MAX_NAMESPACES}",
            hint="List those that jobs are submitted in.",
        )
    for index, each in enumerate(namespaces):
        check_name(each, f"{FIELD}.queues.namespaces[{index}]")
    default = label_value(name).replace(".", "-")
    local = check_name(at.at("localQueue").text(default), f"{FIELD}.queues.localQueue")
    return Queues(tuple(sorted(set(namespaces))), local, _quota(at.at("quota")))


def _workers(at: Field) -> Workers | None:
    if at.absent:
        return None
    _known(at, "createNamespaces", "quota")
    return Workers(at.at("createNamespaces").flag(), _quota(at.at("quota")))


def _dispatch(at: Field) -> Dispatch:
    _known(at, "by", "retryAfterSeconds", "weights")
    by = at.at("by").text(ARBORA)
    if by not in (ARBORA, KUEUE):
        raise at.at("by").error(f"{by!r} is neither {ARBORA} nor {KUEUE}")
    retry = _within(at.at("retryAfterSeconds"), 60, MIN_RETRY, MAX_RETRY)
    weights: dict[str, float] = {}
    for scorer, weight in at.at("weights").entries():
        if isinstance(weight.value, bool) or not isinstance(weight.value, int | float):
            raise weight.error("is not a number", hint="Give each scorer a weight of 0 to 1.")
        weights[scorer] = float(weight.value)
    validate(Policy(weights=weights), f"{FIELD}.dispatch")
    return Dispatch(by, float(retry), weights or {"free": 1.0})


def _removal(at: Field) -> Removal:
    _known(at, "afterSeconds", "cordoned")
    after = at.at("afterSeconds")
    return Removal(None if after.absent else float(after.count(0)), at.at("cordoned").flag())


def _quota(at: Field) -> Amounts:
    found: dict[str, str] = {}
    for resource, amount in at.entries():
        try:
            if parse(amount.value) < 0:
                raise amount.error("is negative")
        except InvalidInput as error:
            raise amount.error(error.message, hint=error.hint) from error
        found[resource] = str(amount.value)
    return found


def _within(at: Field, default: int, least: int, most: int) -> int:
    value = at.count(default)
    if not least <= value <= most:
        raise at.error(f"{value} is not {least} to {most} seconds")
    return value


def _known(at: Field, *names: str) -> Field:
    """The same field, if it has no others than these."""
    for key, other in at.entries():
        if key not in names:
            raise other.error("is not known here", hint=f"Use {', '.join(names)}.")
    return at
