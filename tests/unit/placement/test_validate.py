"""Bad input is refused with the path of the field."""

from __future__ import annotations

import pytest

from arbora.capacity.gpus import GpuClass
from arbora.errors import InvalidInput
from arbora.manifests.selectors import Requirement, Selector
from arbora_hub.placement.demand import Demand, GpuWish, PodGroup
from arbora_hub.placement.policy import (
    AffinityGroup,
    Claim,
    Division,
    Policy,
    Spread,
    StaticWeight,
    Toleration,
)
from arbora_hub.placement.validate import check_class, check_demand, validate
from tests.unit.placement.fleet import A100, H100

TYPO = Selector({}, (Requirement("tier", "Inn", ("gold",)),))


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        (Policy(weights={"cost": -0.1}), "weights.cost"),
        (Policy(weights={"cost": float("nan")}), "weights.cost"),
        (Policy(weights={"costs": 0.1}), "weights.costs"),
        (Policy(clusters=0), "clusters"),
        (Policy(clusters=2, minimum=3), "minimum"),
        (Policy(minimum=-1), "minimum"),
        (Policy(selector=TYPO), "selector.matchExpressions[0]"),
        (Policy(selector=Selector({}, (Requirement("", "Exists"),))), "selector.matchExpressions[0]"),
        (Policy(selector=Selector({}, (Requirement("a", "Gt", ("x",)),))), "selector.matchExpressions[0]"),
        (Policy(groups=(AffinityGroup("empty"),)), "groups[0]"),
        (Policy(groups=(AffinityGroup("a", ("x",)), AffinityGroup("a", ("y",)))), "groups[1].name"),
        (Policy(groups=(AffinityGroup("a", (), TYPO),)), "groups[0].selector.matchExpressions[0]"),
        (Policy(overflow=True), "overflow"),
        (Policy(spread=(Spread("zone", min_groups=3, max_groups=2),)), "spread[0].minGroups"),
        (Policy(clusters=1, spread=(Spread("zone", min_groups=2),)), "spread[0].minGroups"),
        (Policy(spread=(Spread("zone", 0),)), "spread[0].maxSkew"),
        (Policy(spread=(Spread("level/x"),)), "spread[0].label"),
        (Policy(spread=(Spread("zone", when_unsatisfiable="Maybe"),)), "spread[0].whenUnsatisfiable"),
        (Policy(division=Division("evenly")), "division.mode"),
        (Policy(division=Division("weighted")), "division.weights"),
        (Policy(division=Division("weighted", (StaticWeight(-1, "a"),))), "division.weights[0].weight"),
        (Policy(tolerations=(Toleration("a", "Equals"),)), "tolerations[0].operator"),
        (Policy(tolerations=(Toleration("a", effect="NoRun"),)), "tolerations[0].effect"),
        (Policy(tolerations=(Toleration("a", seconds=3),)), "tolerations[0].tolerationSeconds"),
        (Policy(claims=(Claim("eu", -1.0),)), "claims[0].weight"),
        (Policy(expression="labels["), "expression"),
        (Policy(expression="lables.a == 'b'"), "expression"),
        (Policy(expression="1 + 1"), "expression"),
        (Policy(expression="name == '" + "x" * 2000 + "'"), "expression"),
        (Policy(expression="gpus.all(a, gpus.all(b, gpus.all(c, gpus.all(d, true))))"), "expression"),
    ],
)
def test_a_wrong_placement_names_its_field(policy: Policy, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        validate(policy)
    assert caught.value.field == f"spec.placement.{field}"


def test_a_full_placement_is_accepted() -> None:
    validate(
        Policy(
            members=("a",),
            selector=Selector({"tier": "gold"}, (Requirement("gen", "Gt", ("3",)),)),
            expression="labels.tier == 'gold' && gpus.exists(g, g.free > 3)",
            groups=(AffinityGroup("own", ("a",)),),
            overflow=True,
            tolerations=(
                Toleration("down", "Exists", effect="NoExecute", seconds=30.0),
                Toleration("", "Exists"),
            ),
            clusters=3,
            minimum=2,
            spread=(Spread("zone", 1, 2, 3), Spread("level/1")),
            division=Division("weighted", (StaticWeight(1, "a"),)),
            weights={"cost": 0.3, "free": 0.1},
            claims=(Claim("eu", 1.0, True),),
            kinds=("batch/v1/Job",),
        )
    )


@pytest.mark.parametrize(
    ("group", "field"),
    [
        (PodGroup("a", -1), "replicas"),
        (PodGroup("a", 1, 2), "gpu"),
        (PodGroup("a", 1, 2, GpuWish("gpu")), "gpu.resource"),
    ],
)
def test_a_wrong_demand_names_its_field(group: PodGroup, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_demand(Demand((group,)))
    assert caught.value.field == f"spec.demand.groups[0].{field}"


def wishing(wish: GpuWish) -> PodGroup:
    return PodGroup("workers", 1, 1, wish)


def test_gpus_that_no_member_has_ever_shown_are_refused() -> None:
    check_class(wishing(GpuWish(product="h100")), (H100,), "f")
    check_class(PodGroup("a", 1), (H100,), "f")
    with pytest.raises(InvalidInput, match=r"nvidia.com/gpu \(H1000\), which no member has ever shown") as caught:
        check_class(wishing(GpuWish(product="H1000")), (A100, H100), "spec.manifests[2]")
    assert caught.value.field == "spec.manifests[2]"
    assert caught.value.message.endswith("the nearest known are nvidia H100, nvidia A100")
    assert "arbora gpus" in caught.value.hint


@pytest.mark.parametrize(
    ("wish", "first"),
    [
        (GpuWish(product="H1000"), "nvidia H100,"),
        (GpuWish(product="nvidia-h200"), "nvidia H200,"),
        (GpuWish("amd.com/gpu", "MI30X"), "amd MI300X,"),
        (GpuWish("nvidia.com/mig-1g.20gb"), "nvidia A100 1g.10gb,"),
        (GpuWish("nvidia.com/mig-1g.20gb", "H100"), "nvidia A100 1g.10gb,"),
    ],
)
def test_the_nearest_known_gpus_are_named_first(wish: GpuWish, first: str) -> None:
    known = [
        *(GpuClass("nvidia", product) for product in ("A100", "H100", "H200", "L4", "T4", "V100")),
        GpuClass("amd", "MI300X"),
        GpuClass("nvidia", "A100", "1g.10gb"),
        GpuClass("nvidia", "A100", "7g.80gb"),
    ]
    with pytest.raises(InvalidInput) as caught:
        check_class(wishing(wish), known, "f")
    assert caught.value.message.partition("known are ")[2].startswith(first)
    assert caught.value.message.count(", ") <= 1 + 4, "a few of them"
