"""From a pod template to a group of equal pods.

For: the readers of kinds. Checks what it reads, so that `capacity/pod.py` meets only well-formed data; what it
doesn't read (volumes, ports ...) is the API server's to check. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from arbora.capacity.kinds.field import Field
from arbora.capacity.kinds.form import PodGroup
from arbora.capacity.pod import Amounts, is_gpu, pod_requests
from arbora.capacity.quantity import MEBI, MILLI, ceiling, parse
from arbora.errors import InvalidInput

_PRODUCT_LABEL = re.compile(
    r"nvidia\.com/(gpu|mig-[0-9a-z.+]+)\.product"
    r"|(beta\.)?amd\.com/gpu\.(product-name|device-id)"
    r"|gpu\.intel\.com/(product|family)"
)
"""The labels from which `capacity/node.py` learns a GPU's product."""
_MOST = Fraction(2**63 - 1)
"""The API server's quantities are int64."""


def pod_group(name: str, template: Field, units: int = 1, per_unit: int = 1) -> tuple[PodGroup, tuple[str, ...]]:
    """The group of `units x per_unit` pods of `template` (a map with `spec`), and what was assumed.

    Raises InvalidInput with the path of a malformed field.
    """
    spec = template.at("spec")
    _check(spec)
    reasons: list[str] = []
    if not spec.at("containers").items():
        reasons.append(f"group {name} names no container, so nothing is counted for its pods")
    if spec.at("resourceClaims").items():
        reasons.append(f"group {name} asks for devices by resource claims, which are not counted")
    products, assumed = _products(spec)
    reasons += (f"group {name} {sentence}" for sentence in assumed)
    group = sized(name, pod_requests(spec.map()), units, per_unit, products)
    return group, tuple(reasons)


def sized(
    name: str,
    amounts: Amounts,
    units: int,
    per_unit: int = 1,
    products: tuple[tuple[str, tuple[str, ...]], ...] = (),
) -> PodGroup:
    """The group of pods that ask for `amounts` each."""
    return PodGroup(
        name=name,
        replicas=units * per_unit,
        per_unit=per_unit,
        cpu_millis=ceiling(amounts.get("cpu", Fraction(0)), MILLI),
        memory_mib=ceiling(amounts.get("memory", Fraction(0)), MEBI),
        gpus=tuple(sorted((key, ceiling(each)) for key, each in amounts.items() if each > 0 and is_gpu(key))),
        products=products,
    )


def check_amounts(amounts: Field) -> None:
    """Raise InvalidInput unless this maps resource names to quantities that a pod may ask for."""
    for resource, written in amounts.entries():
        try:
            amount = parse(written.value)
        except InvalidInput as error:
            raise written.error(error.message, hint=error.hint) from error
        if not 0 <= amount <= _MOST:
            raise written.error(f"{written.value} is not an amount that a pod can ask for")
        if is_gpu(resource) and amount.denominator != 1:
            raise written.error(f"{written.value} is not a whole number of devices")


def _check(spec: Field) -> None:
    for part in ("containers", "initContainers"):
        for container in spec.at(part).items():
            container.at("restartPolicy").text()
            _check_resources(container)
    _check_resources(spec)
    check_amounts(spec.at("overhead"))


def _check_resources(owner: Field) -> None:
    for part in ("requests", "limits"):
        check_amounts(owner.at("resources", part))


def _products(spec: Field) -> tuple[tuple[tuple[str, tuple[str, ...]], ...], tuple[str, ...]]:
    """The GPU products that the node selector and the required node affinity leave, and what was assumed."""
    accepted: dict[str, tuple[str, ...]] = {}
    for label, value in spec.at("nodeSelector").entries():
        if _PRODUCT_LABEL.fullmatch(label):
            accepted[label] = (value.text(),)
    rule = spec.at("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    terms = [_term(term) for term in rule.at("nodeSelectorTerms").items()]
    named = {label for term in terms for label in term}
    exact = all(named <= term.keys() for term in terms) and (len(terms) < 2 or len(named) < 2)
    if named and not exact:
        return tuple(sorted(accepted.items())), (
            "has alternatives in its node affinity; which GPU product they mean is left to the member",
        )
    for label in named:
        # Terms are alternatives: with one label in all of them, its values add up.
        values = tuple(dict.fromkeys(value for term in terms for value in term[label]))
        before = accepted.get(label)
        kept = values if before is None else tuple(value for value in before if value in values)
        if not kept:
            raise rule.error(
                f"no value of {label} satisfies all requirements", hint="Ask for one GPU product in one place."
            )
        accepted[label] = kept
    return tuple(sorted(accepted.items())), ()


def _term(term: Field) -> Mapping[str, Any]:
    """The product labels that one node selector term limits to certain values."""
    limits: dict[str, tuple[str, ...]] = {}
    for expression in term.at("matchExpressions").items():
        label = expression.at("key").text()
        if expression.at("operator").text() == "In" and _PRODUCT_LABEL.fullmatch(label):
            values = expression.at("values").texts()
            limits[label] = tuple(each for each in limits.get(label, values) if each in values)
    return limits
