"""GPUs that nobody has ever shown are refused when they are asked for, and never by mistake."""

from __future__ import annotations

from typing import Any

import pytest

from arbora.capacity.gpus import GpuClass
from arbora.errors import InvalidInput
from arbora.identity.names import Path
from arbora.manifests.objects import to_json
from arbora.v1 import workload_pb2 as pb
from arbora_hub.workloads.record import Submission, read_submission
from tests.support.hub import config_map, job
from tests.support.placing import PRODUCT, T4, t4_job

H100 = GpuClass("nvidia", "H100")
TESLA = GpuClass("nvidia", T4)
SLICE = GpuClass("nvidia", "A100", "1g.5gb")


def submitted(*manifests: dict[str, Any]) -> Submission:
    placement = pb.Placement(selector=pb.LabelSelector())
    return read_submission(pb.WorkloadSpec(placement=placement, manifests=map(to_json, manifests)), Path())


def on(product: str, name: str = "train") -> dict[str, Any]:
    manifest = job(name, 1)
    manifest["spec"]["template"]["spec"]["nodeSelector"] = {PRODUCT: product}
    return manifest


def test_gpus_that_nobody_has_shown_are_refused_at_the_manifest_that_asks_for_them() -> None:
    with pytest.raises(InvalidInput) as refused:
        submitted(config_map("a"), t4_job("b"), on("H1000")).check_gpus((None, TESLA, H100))
    assert refused.value.field == "spec.manifests[2]"
    assert refused.value.message == (
        f"asks for nvidia.com/gpu (H1000), which no member has ever shown; the nearest known are "
        f"nvidia H100, nvidia {T4}"
    )


def test_what_somebody_has_shown_and_what_needs_no_gpu_is_not_refused() -> None:
    for manifest in (t4_job("a"), job("a", 8), job("a", 0), config_map("a")):
        submitted(manifest).check_gpus((None, TESLA))


def test_as_long_as_no_class_is_known_nothing_is_refused() -> None:
    submitted(on("H1000")).check_gpus(())
    submitted(on("H1000")).check_gpus((None,))


def test_a_class_that_only_the_product_names_in_full_is_known() -> None:
    submitted(on("A100-MIG-1g.5gb")).check_gpus((SLICE,))


def test_what_was_accepted_once_is_accepted_again_and_nothing_else_with_it() -> None:
    before = submitted(on("H1000"))
    submitted(on("H1000"), config_map("more")).check_gpus((TESLA,), before)
    with pytest.raises(InvalidInput) as refused:
        submitted(on("H1000"), on("H2000", "other")).check_gpus((TESLA,), before)
    assert refused.value.field == "spec.manifests[1]"
