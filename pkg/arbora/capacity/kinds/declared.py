"""Shapes of kinds that nobody here knows, by what their author declares in annotations.

`arbora.dev/replicas-path` and `arbora.dev/template-path` are JSON pointers (RFC 6901) into the object, to the
number of replicas and to the pod template (or pod spec). They win over what is known of a kind. Pure.
"""

from __future__ import annotations

from arbora.capacity.kinds.field import Field
from arbora.capacity.kinds.form import PodGroup, ReplicasPath, Shape
from arbora.capacity.kinds.template import pod_group
from arbora.errors import InvalidInput
from arbora.manifests.json_patch import split_pointer

REPLICAS_PATH = "arbora.dev/replicas-path"
TEMPLATE_PATH = "arbora.dev/template-path"


def read_declared(root: Field, title: str) -> Shape | None:
    """The declared shape, or None if the object declares no path. Raises InvalidInput for a wrong pointer."""
    annotations = root.at("metadata", "annotations")
    replicas_path, template_path = annotations.at(REPLICAS_PATH), annotations.at(TEMPLATE_PATH)
    if replicas_path.absent and template_path.absent:
        return None
    units = 1
    places: tuple[ReplicasPath, ...] = ()
    reasons: tuple[str, ...] = ()
    if not replicas_path.absent:
        units = follow(root, replicas_path).count(1)
        places = (ReplicasPath(replicas_path.text()),)
    if template_path.absent:
        group = PodGroup("pods", units)
        reasons = (f"what its pods ask for is unknown: the annotation {TEMPLATE_PATH} is missing",)
    else:
        template = follow(root, template_path)
        if template.absent:
            raise template_path.error(f"nothing stands at {template_path.text()}")
        if not template.at("containers").absent:
            template = Field({"spec": template.value}, template.path[:-1])
        group, reasons = pod_group("pods", template, units)
    return Shape(title, (group,), units, divisible=bool(places), replicas_at=places, reasons=reasons)


def follow(root: Field, pointer: Field) -> Field:
    """The field at the JSON pointer that the annotation `pointer` holds. Its last step may be absent."""
    text = pointer.text()
    try:
        steps = split_pointer(text)
    except InvalidInput as error:
        raise pointer.error(error.message, hint=error.hint) from error
    if not steps:
        raise pointer.error("points to the whole object", hint="Such as /spec/replicas.")
    found = root
    for step in steps:
        if found.absent:
            raise pointer.error(f"{text}: there is nothing at {found.path[-1]!r}")
        if isinstance(found.value, list):
            if not step.isascii() or not step.isdecimal() or int(step) >= len(found.value):
                raise pointer.error(f"{text}: {step!r} is not an index of that list")
            found = Field(found.value[int(step)], (*found.path, int(step)))
        else:
            found = found.at(step)
    return found
