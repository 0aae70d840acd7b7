"""A fleet that exists only in a file: what `arbora simulate` places workloads on. Pure.

    apiVersion: arbora.dev/v1
    kind: Fleet
    members:
      - name: edge-7
        labels: {site: paris}
        taints: ["team=vision:NoSchedule"]
        gpus: [{product: H100, nodes: [8, 8, 4], used: 3, price: 2.5}]
        properties: {region: eu}
        state: online                     # online (default), suspect, lost
        cordoned: false

`nodes` has one entry for each node, its GPUs. `used` is taken from the nodes in their order, or given node by
node as a list. What is left out is not known, which is never the same as 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from arbora.capacity.gpus import GpuClass
from arbora.errors import InvalidInput
from arbora.identity.names import check_name
from arbora.manifests.forms import COUNT, TEXT, YES, Anything, Fields, Leaf, Many, OneOf, Table, check
from arbora.manifests.strict_yaml import FieldPath, YamlDocument, type_name

FLEET = "Fleet"
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
STATES = ("online", "suspect", "lost")
MAX_GPUS = 1024
"""Of one node."""

Property = str | float | bool


@dataclass(frozen=True, slots=True)
class FleetTaint:
    """As in Kubernetes."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True)
class FleetGpus:
    """The GPUs of one class in one member."""

    gpu_class: GpuClass
    nodes: tuple[int, ...]
    """Devices of each node."""
    used: tuple[int, ...]
    """How many of them are used, node by node; as long as `nodes`."""
    price: float | None = None
    """Per device and hour."""


@dataclass(frozen=True, slots=True)
class FleetMember:
    """One member: a direct child of the hub that is simulated."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[FleetTaint, ...] = ()
    gpus: tuple[FleetGpus, ...] = ()
    properties: Mapping[str, Property] = field(default_factory=dict)
    state: str = "online"
    """One of STATES."""
    cordoned: bool = False
    kinds: tuple[str, ...] | None = None
    """API kinds that it serves; None: not known."""
    claims: Mapping[str, str] = field(default_factory=dict)
    """Claim -> attested, observed or declared."""


@dataclass(frozen=True, slots=True)
class FleetDocument:
    """All members, in the order of the file."""

    members: tuple[FleetMember, ...]
    source: str = field(default="", compare=False)
    line: int = field(default=1, compare=False)


_DEVICES = Leaf(int, 0, MAX_GPUS)
_GPUS = Fields(
    {
        "vendor": TEXT,
        "product": TEXT,
        "migProfile": TEXT,
        "sharing": TEXT,
        "nodes": Many(_DEVICES),
        "used": Anything(),
        "price": Leaf(float, 0),
    },
    ("product", "nodes"),
)
_FLEET = Fields(
    {
        "apiVersion": TEXT,
        "kind": TEXT,
        "members": Many(
            Fields(
                {
                    "name": TEXT,
                    "labels": Table(TEXT),
                    "taints": Many(TEXT),
                    "gpus": Many(_GPUS),
                    "properties": Table(Anything()),
                    "state": OneOf(STATES),
                    "cordoned": YES,
                    "kinds": Many(TEXT),
                    "claims": Table(OneOf(("attested", "observed", "declared"))),
                },
                ("name",),
            )
        ),
    },
    ("members",),
)
_TAINT = re.compile(rf"(?P<key>[^=:\s]+)(?:=(?P<value>[^=:\s]*))?:(?P<effect>{'|'.join(EFFECTS)})")


def read_fleet(document: YamlDocument, path: FieldPath, value: Any) -> FleetDocument:
    """The Fleet that stands at `path`. Raises InvalidDocument with the line of what is wrong."""
    written = check(document, path, value, _FLEET)["members"]
    where = (*path, "members")
    if not written:
        raise document.error(where, "holds no member")
    members: dict[str, FleetMember] = {}
    for index, each in enumerate(written):
        member = _member(document, (*where, index), each)
        if member.name in members:
            raise document.error((*where, index, "name"), f"{member.name} is there twice")
        members[member.name] = member
    return FleetDocument(tuple(members.values()), document.source, document.line(path))


def _member(document: YamlDocument, path: FieldPath, written: Mapping[str, Any]) -> FleetMember:
    try:
        name = check_name(written["name"])
    except InvalidInput as error:
        raise document.error((*path, "name"), error.message, hint=error.hint) from error
    properties = written.get("properties", {})
    for key, value in properties.items():
        if not isinstance(value, str | int | float):
            raise document.error(
                (*path, "properties", key), f"is {type_name(value)}, not a text, a number or true or false"
            )
    taints, gpus = written.get("taints", ()), written.get("gpus", ())
    return FleetMember(
        name=name,
        labels=written.get("labels", {}),
        taints=tuple(_taint(document, (*path, "taints", index), each) for index, each in enumerate(taints)),
        gpus=tuple(_gpus(document, (*path, "gpus", index), each) for index, each in enumerate(gpus)),
        properties=properties,
        state=written.get("state", "online"),
        cordoned=written.get("cordoned", False),
        kinds=tuple(written["kinds"]) if "kinds" in written else None,
        claims=written.get("claims", {}),
    )


def _taint(document: YamlDocument, path: FieldPath, text: str) -> FleetTaint:
    match = _TAINT.fullmatch(text)
    if match is None:
        raise document.error(
            path, f"{text!r} is not a taint", hint=f"Write key=value:{EFFECTS[0]}; effects: {', '.join(EFFECTS)}."
        )
    return FleetTaint(match["key"], match["value"] or "", match["effect"])


def _gpus(document: YamlDocument, path: FieldPath, written: Mapping[str, Any]) -> FleetGpus:
    nodes = tuple(written["nodes"])
    price = written.get("price")
    return FleetGpus(
        gpu_class=GpuClass(
            written.get("vendor", "nvidia"),
            written["product"],
            written.get("migProfile", ""),
            written.get("sharing", "exclusive"),
        ),
        nodes=nodes,
        used=_used(document, (*path, "used"), written.get("used", 0), nodes),
        price=None if price is None else float(price),
    )


def _used(document: YamlDocument, path: FieldPath, value: Any, nodes: tuple[int, ...]) -> tuple[int, ...]:
    """Used devices node by node; a single number is taken from the nodes in their order."""
    if isinstance(value, list):
        used = tuple(check(document, path, value, Many(_DEVICES)))
        if len(used) != len(nodes):
            raise document.error(path, f"has {len(used)} entries for {len(nodes)} nodes")
        for index, (taken, devices) in enumerate(zip(used, nodes, strict=True)):
            if taken > devices:
                raise document.error((*path, index), f"{taken} of {devices} GPUs can't be used")
        return used
    left = check(document, path, value, COUNT)
    if left > sum(nodes):
        raise document.error(path, f"{left} of {sum(nodes)} GPUs can't be used")
    taken_from = []
    for devices in nodes:
        taken_from.append(min(devices, left))
        left -= taken_from[-1]
    return tuple(taken_from)
