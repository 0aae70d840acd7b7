"""What `spec.placement` may hold beyond members and selector, as a table. Pure.

Only form is checked here, with the line of what is wrong: names, types, nesting. Whether it makes sense (a
contradictory spread, a weight above 1) is the hub's to say, for every client alike.
"""

from __future__ import annotations

from collections.abc import Mapping

from arbora.manifests.forms import COUNT, NUMBER, TEXT, WHOLE, YES, Fields, Form, Labels, Many, Names, Table

PLACEMENT: Mapping[str, Form] = {
    "expression": TEXT,
    "groups": Many(Fields({"name": TEXT, "members": Names(), "selector": Labels()}, ("name",))),
    "overflow": YES,
    "tolerations": Many(
        Fields({"key": TEXT, "operator": TEXT, "value": TEXT, "effect": TEXT, "tolerationSeconds": COUNT})
    ),
    "clusters": COUNT,
    "minimum": COUNT,
    "spread": Many(
        Fields(
            {"label": TEXT, "maxSkew": COUNT, "minGroups": COUNT, "maxGroups": COUNT, "whenUnsatisfiable": TEXT},
            ("label",),
        )
    ),
    "division": Fields(
        {
            "mode": TEXT,
            "weights": Many(Fields({"weight": COUNT, "member": TEXT, "selector": Labels()}, ("weight",))),
            "allOrNothing": YES,
        },
        ("mode",),
    ),
    "weights": Table(NUMBER),
    "priority": WHOLE,
    "kinds": Many(TEXT),
    "claims": Many(Fields({"name": TEXT, "weight": NUMBER, "hard": YES}, ("name",))),
}
"""The names are the JSON names of arbora.v1.Placement."""
