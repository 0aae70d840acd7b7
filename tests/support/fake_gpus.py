"""GpuService for clients' tests, over plain data: the devices that a test has put into a `FakeHub`.

Sums are added up by the hub's own pure code, from the members' sketches and the devices, so that a test sees the
numbers that a hub would send.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from arbora.capacity.gpus import GpuClass
from arbora.capacity.sketch import SketchRow, merge
from arbora.errors import Conflict, InvalidInput, NotFound
from arbora.gpus.health import Health
from arbora.gpus.model import NOTHING, Device, Use
from arbora.gpus.wire import device_values_from_wire
from arbora.v1 import gpu_pb2, gpu_pb2_grpc, member_pb2
from arbora_hub.gpus import rollup, summary
from arbora_hub.gpus.rollup import Rollup
from arbora_hub.inventory.liveness import Liveness

if TYPE_CHECKING:
    from tests.support.fake_hub import FakeHub

PAGE = 2
H100 = member_pb2.GpuClass(vendor="nvidia", product="H100", sharing="exclusive")
COUNTS = ("total", "allocatable", "used", "free", "unhealthy", "pending", "unusable", "draining")


def make_gpu(
    member: str,
    node: str = "n0",
    index: int = 0,
    *,
    health: Health = Health.HEALTHY,
    stale: bool = False,
    values: dict[str, Any] | None = None,
    gpu_class: member_pb2.GpuClass = H100,
    **fields: Any,
) -> gpu_pb2.Gpu:
    """A device with 80 GiB. values: what it measures; fields: further ones of the device."""
    fields.setdefault("uuid", f"GPU-{member.strip('/').replace('/', '-')}-{node}-{index}")
    fields.setdefault("name", "NVIDIA H100 80GB HBM3")
    device = gpu_pb2.GpuDevice(index=index, health=int(health), memory_bytes=80 * 2**30, **fields)  # type: ignore[arg-type]
    return gpu_pb2.Gpu(
        member=member,
        node=node,
        device=device,
        values=gpu_pb2.GpuValues(**(values or {})),
        gpu_class=gpu_class,
        stale=stale,
        driver="570.86.10",
        cuda="12.8",
    )


class Gpus(gpu_pb2_grpc.GpuServiceServicer):
    """The service."""

    def __init__(self, hub: FakeHub) -> None:
        self._hub = hub

    def ListGpus(self, request: Any, context: Any) -> Any:
        with self._hub.changed:
            found = [
                gpu
                for gpu in self._below(request.path)
                if request.node in ("", gpu.node)
                and request.product in ("", gpu.device.name.replace(" ", "-"))
                and request.health in (0, gpu.device.health)
            ]
        start = int(request.page_token or 0)
        token = str(start + PAGE) if start + PAGE < len(found) else ""
        return gpu_pb2.ListGpusResponse(gpus=found[start : start + PAGE], next_page_token=token)

    def GetGpu(self, request: Any, context: Any) -> Any:
        with self._hub.changed:
            found = [gpu for gpu in self._below(request.path) if gpu.device.uuid.startswith(request.uuid)]
            if not found:
                raise NotFound(f"there is no GPU {request.uuid}", hint="Name its member with --in.")
            if len(found) > 1:
                raise Conflict(f"{len(found)} GPUs begin with {request.uuid}", hint="Write more of the UUID.")
            answer = gpu_pb2.GetGpuResponse(gpu=found[0])
            limit = request.history.seconds
            minutes = self._hub.gpu_minutes.get(found[0].device.uuid, [])
            answer.history.extend(each for each in minutes if each.ago.seconds < limit)
            return answer

    def SummarizeGpus(self, request: Any, context: Any) -> Any:
        with self._hub.changed:
            if request.by == gpu_pb2.GPU_GROUPING_NODE:
                return gpu_pb2.SummarizeGpusResponse(rows=summary.by_node(self._nodes(request.path)))
            told = list(self._told(request.path, request.selector))
            by_member = request.by == gpu_pb2.GPU_GROUPING_MEMBER
            return gpu_pb2.SummarizeGpusResponse(
                rows=summary.by_member(told) if by_member else summary.by_class(told)
            )

    def _below(self, path: str) -> list[gpu_pb2.Gpu]:
        """Devices of a member, or of the members that a hub owns itself."""
        top = "/" + path.strip("/")
        if top != "/" and not any(each == top or each.startswith(f"{top}/") for each in self._hub.members):
            raise NotFound(f"there is no member {path} at this hub")
        found = [
            gpu for gpu in self._hub.gpus if gpu.member == top or gpu.member.rpartition("/")[0] == top.rstrip("/")
        ]
        return sorted(found, key=lambda gpu: (gpu.member, gpu.node, gpu.device.index))

    def _nodes(self, path: str) -> dict[str, list[tuple[GpuClass, Rollup]]]:
        if "/" + path.strip("/") not in self._hub.members:
            raise InvalidInput("nodes are those of one member", field="path")
        nodes: defaultdict[str, list[tuple[GpuClass, Rollup]]] = defaultdict(list)
        for gpu in self._below(path):
            nodes[gpu.node].append((_class(gpu.gpu_class), _rollup(gpu)))
        return nodes

    def _told(self, path: str, selector: str) -> Iterator[summary.Told]:
        wanted = dict(term.split("=") for term in selector.split(",") if term).items()
        top = "/" + path.strip("/")
        for name, member in sorted(self._hub.members.items()):
            inside = top == "/" or name == top or name.startswith(f"{top}/")
            if not inside or not wanted <= dict(member.labels).items():
                continue
            sketches = {_class(each.gpu_class): _merged(each) for each in member.sketches}
            rollups: defaultdict[GpuClass, list[Rollup]] = defaultdict(list)
            for gpu in self._hub.gpus:
                if gpu.member == name:
                    rollups[_class(gpu.gpu_class)].append(_rollup(gpu))
            for gpu_class in sorted({*sketches, *rollups}):
                yield summary.Told(
                    name,
                    gpu_class,
                    Liveness(member.liveness),
                    member.cordoned,
                    sketches.get(gpu_class),
                    rollup.add(rollups[gpu_class]) if gpu_class in rollups else None,
                )


def _class(wire: member_pb2.GpuClass) -> GpuClass:
    return GpuClass(wire.vendor, wire.product, wire.mig_profile, wire.sharing or "exclusive")


def _merged(sketch: member_pb2.Sketch) -> SketchRow:
    return merge(SketchRow(members=1, **{name: getattr(row, name) for name in COUNTS}) for row in sketch.rows)


def _rollup(gpu: gpu_pb2.Gpu) -> Rollup:
    """One device in a sum, as the hub counts it."""
    device = Device(
        gpu.device.uuid,
        gpu.device.index,
        memory_bytes=gpu.device.memory_bytes,
        health=Health(gpu.device.health),
        use=Use(gpu.device.use),
    )
    return rollup.of_values(device, NOTHING if gpu.stale else device_values_from_wire(gpu.values), gpu.stale)
