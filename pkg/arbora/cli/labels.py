"""Labels and taints as kubectl takes them.

`gpu=h100` sets, `gpu-` removes; `key=value:NoSchedule`, `key:NoSchedule-`, `key-`. Pure. Whether a key or a
value is well-formed is checked by the hub, in one place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from arbora.errors import InvalidInput
from arbora.v1 import member_pb2 as pb

_EFFECTS = {
    "NoSchedule": pb.TAINT_EFFECT_NO_SCHEDULE,
    "PreferNoSchedule": pb.TAINT_EFFECT_PREFER_NO_SCHEDULE,
    "NoExecute": pb.TAINT_EFFECT_NO_EXECUTE,
}
_WORDS = {number: word for word, number in _EFFECTS.items()}


def parse_labels(arguments: Iterable[str], *, removal: bool = True) -> tuple[dict[str, str], list[str]]:
    """Labels to set and keys to remove. removal: whether `key-` is allowed. Raises InvalidInput."""
    labels: dict[str, str] = {}
    removed: list[str] = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and key:
            if key in labels:
                raise InvalidInput(f"the label {key} is given twice")
            labels[key] = value
        elif removal and not equals and len(argument) > 1 and argument.endswith("-"):
            removed.append(argument[:-1])
        else:
            hint = "Write key=value to set it, key- to remove it." if removal else "Write key=value."
            raise InvalidInput(f"{argument!r} is not a label", hint=hint)
    if both := sorted(labels.keys() & set(removed)):
        raise InvalidInput(f"the label {both[0]} is both set and removed")
    return labels, removed


def parse_taints(arguments: Iterable[str]) -> tuple[list[pb.Taint], list[pb.Taint]]:
    """Taints to set and taints to remove. Raises InvalidInput."""
    added: list[pb.Taint] = []
    removed: list[pb.Taint] = []
    for argument in arguments:
        minus = argument.endswith("-")
        rest, colon, effect = argument.removesuffix("-").partition(":")
        key, _, value = rest.partition("=")
        if not key or (not colon and not minus):
            raise InvalidInput(
                f"{argument!r} is not a taint",
                hint="Write key=value:NoSchedule to set it, key:NoSchedule- or key- to remove it.",
            )
        if colon and effect not in _EFFECTS:
            raise InvalidInput(
                f"{argument!r}: {effect!r} is not an effect", hint=f"There is {', '.join(_EFFECTS)}."
            )
        number = _EFFECTS[effect] if colon else pb.TAINT_EFFECT_UNSPECIFIED
        (removed if minus else added).append(pb.Taint(key=key, value=value, effect=number))
    return added, removed


def show_labels(labels: Mapping[str, str]) -> str:
    """`a=1,b=2`, sorted."""
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels))


def show_taint(taint: pb.Taint) -> str:
    """`key=value:NoSchedule`."""
    value = f"={taint.value}" if taint.value else ""
    return f"{taint.key}{value}:{_WORDS.get(taint.effect, taint.effect)}"
