"""GpuService: GPUs as their devices report them.

Single devices are known at the hub that owns their member only: a path that leads further down goes there as a
call, and its answer is given unchanged. Sums are known at every hub.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from arbora.capacity.aggregate import from_wire as rows_from_wire
from arbora.capacity.gpus import GpuClass
from arbora.capacity.sketch import SketchRow, merge
from arbora.capacity.wire import class_to_wire
from arbora.errors import Conflict, InvalidInput, NotFound
from arbora.gpus.model import NOTHING
from arbora.gpus.wire import device_to_wire, device_values_to_wire
from arbora.manifests.matching import matches
from arbora.manifests.selectors import Selector, parse_selector
from arbora.rpc.guard import Context
from arbora.v1 import gpu_pb2 as pb
from arbora.v1 import gpu_pb2_grpc
from arbora_hub.api.pages import page
from arbora_hub.api.views import duration
from arbora_hub.gpus import rollup, summary
from arbora_hub.gpus.classes import class_of
from arbora_hub.gpus.members import MemberGpus, Shown
from arbora_hub.gpus.minute import Minute
from arbora_hub.gpus.minutes import KEPT_MINUTES, MINUTE, classes_of
from arbora_hub.gpus.packing import find
from arbora_hub.gpus.rollup import Rollup
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.store.port import ReadTx, Store
from arbora_hub.store.rows import GpuHistoryRow
from arbora_hub.tree.calls import Calls
from arbora_hub.tree.route import Below, Direct, Here, route

LIST_GPUS = "/arbora.v1.GpuService/ListGpus"
GET_GPU = "/arbora.v1.GpuService/GetGpu"
SUMMARIZE_GPUS = "/arbora.v1.GpuService/SummarizeGpus"


class GpuService(gpu_pb2_grpc.GpuServiceServicer):
    """Served on the client port."""

    def __init__(
        self,
        gpus: MemberGpus,
        inventory: Inventory,
        calls: Calls,
        store: Store,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        """clock: loop time. wall: seconds since the epoch."""
        self._gpus = gpus
        self._inventory = inventory
        self._calls = calls
        self._store = store
        self._clock = clock
        self._wall = wall

    async def ListGpus(self, request: pb.ListGpusRequest, context: Context) -> pb.ListGpusResponse:
        """See gpu.proto."""
        onward = self._onward(request.path)
        if onward is not None:
            child, rest = onward
            asked = pb.ListGpusRequest()
            asked.CopyFrom(request)
            asked.path = rest
            return await self._calls.forward(child, LIST_GPUS, asked, pb.ListGpusResponse)
        shown = [
            one
            for one in self._shown(request.path)
            if (not request.node or one.node_name == request.node)
            and (not request.product or one.device.product == request.product)
            and (not request.health or int(one.device.health) == request.health)
        ]
        shown.sort(key=_order)
        chosen, token = page(shown, _order, request.page_size, request.page_token, 500)
        return pb.ListGpusResponse(gpus=[self._view(one) for one in chosen], next_page_token=token)

    async def GetGpu(self, request: pb.GetGpuRequest, context: Context) -> pb.GetGpuResponse:
        """See gpu.proto."""
        onward = self._onward(request.path)
        if onward is not None:
            child, rest = onward
            asked = pb.GetGpuRequest()
            asked.CopyFrom(request)
            asked.path = rest
            return await self._calls.forward(child, GET_GPU, asked, pb.GetGpuResponse)
        if not request.uuid:
            raise InvalidInput("names no GPU", field="uuid", hint="See `arbora gpus list --by gpu`.")
        one = self._one(request)
        answer = pb.GetGpuResponse(gpu=self._view(one))
        seconds = request.history.seconds
        if seconds > 0:
            minutes = min(KEPT_MINUTES, -(-seconds // int(MINUTE)))
            rows = await self._history(one.child, minutes)
            answer.history.extend(self._minutes(rows, one.device.uuid))
        return answer

    async def SummarizeGpus(self, request: pb.SummarizeGpusRequest, context: Context) -> pb.SummarizeGpusResponse:
        """See gpu.proto."""
        onward = self._onward(request.path)
        if onward is not None:
            child, rest = onward
            asked = pb.SummarizeGpusRequest(path=rest, by=request.by, selector=request.selector)
            return await self._calls.forward(child, SUMMARIZE_GPUS, asked, pb.SummarizeGpusResponse)
        if request.by == pb.GPU_GROUPING_NODE:
            return pb.SummarizeGpusResponse(rows=summary.by_node(self._by_node(request.path)))
        selector = parse_selector(request.selector) if request.selector else None
        told = self._told(request.path, selector)
        by_member = request.by == pb.GPU_GROUPING_MEMBER
        return pb.SummarizeGpusResponse(rows=summary.by_member(told) if by_member else summary.by_class(told))

    # whom it is about

    def _onward(self, path: str) -> tuple[str, str] | None:
        """The child hub to ask, and the path as it says it; None: it is answered here."""
        place = route(self._inventory.own_path, path)
        if isinstance(place, Below):
            return place.child, place.text
        if isinstance(place, Direct) and self._inventory.resolve(place.name).row.kind == "hub":
            return place.name, ""
        return None

    def _children(self, path: str) -> Iterable[Child]:
        place = route(self._inventory.own_path, path)
        if isinstance(place, Here):
            return sorted(self._inventory, key=lambda child: child.name)
        assert isinstance(place, Direct)
        return (self._inventory.resolve(place.name),)

    def _shown(self, path: str) -> Iterator[Shown]:
        for child in self._children(path):
            yield from self._gpus.devices(child.name)

    def _one(self, request: pb.GetGpuRequest) -> Shown:
        found = [one for one in self._shown(request.path) if one.device.uuid.startswith(request.uuid)]
        exact = [one for one in found if one.device.uuid == request.uuid]
        if len(exact or found) == 1:
            return (exact or found)[0]
        where = request.path or str(self._inventory.own_path)
        if not found:
            raise NotFound(
                f"there is no GPU {request.uuid} at {where}",
                hint="GPUs are known at the hub that owns their member: name it with --in. "
                "See `arbora gpus list --by gpu`.",
            )
        raise Conflict(f"{len(found)} GPUs at {where} begin with {request.uuid}", hint="Write more of the UUID.")

    # what is told

    def _view(self, one: Shown) -> pb.Gpu:
        now = self._clock()
        device = device_to_wire(one.device)
        device.health_for.CopyFrom(duration(now - one.health_at))
        view = pb.Gpu(
            member=str(self._inventory.path_of(one.child)),
            node=one.node_name,
            device=device,
            values=device_values_to_wire(one.values),
            gpu_class=class_to_wire(class_of(one.device, classes_of(one.child))),
            stale=_is_stale(one),
            driver=one.node.driver,
            cuda=one.node.cuda,
        )
        if one.values_at is not None:
            view.values_age.CopyFrom(duration(now - one.values_at))
        return view

    def _told(self, path: str, selector: Selector | None) -> Iterator[summary.Told]:
        """What each child says, by class."""
        for child in self._children(path):
            if selector is not None and not matches(selector, child.row.labels):
                continue
            sketches, rollups = _sketches_of(child), self._rollups_of(child)
            members = child.subtree.members if child.subtree is not None else 1
            for gpu_class in sorted({*sketches, *rollups}):
                yield summary.Told(
                    str(self._inventory.path_of(child)),
                    gpu_class,
                    child.liveness,
                    child.row.cordoned,
                    sketches.get(gpu_class),
                    rollups.get(gpu_class),
                    members,
                )

    def _rollups_of(self, child: Child) -> dict[GpuClass, Rollup]:
        member = self._gpus.member(child.name)
        if member is None:
            return {}
        if child.row.kind == "hub":
            return rollup.from_wire(member.below) if member.below is not None else {}
        known = classes_of(child)
        groups: defaultdict[GpuClass, list[Rollup]] = defaultdict(list)
        for one in self._gpus.devices(child.name):
            groups[class_of(one.device, known)].append(_row_of(one))
        return {gpu_class: rollup.add(rows) for gpu_class, rows in groups.items()}

    def _by_node(self, path: str) -> dict[str, list[tuple[GpuClass, Rollup]]]:
        place = route(self._inventory.own_path, path)
        if isinstance(place, Here):
            raise InvalidInput(
                "nodes are those of one member", field="path", hint="Name it: arbora gpus list edge-7 --by node."
            )
        nodes: defaultdict[str, list[tuple[GpuClass, Rollup]]] = defaultdict(list)
        for one in self._shown(path):
            known = classes_of(one.child)
            nodes[one.node_name].append((class_of(one.device, known), _row_of(one)))
        return nodes

    async def _history(self, child: Child, minutes: int) -> tuple[GpuHistoryRow, ...]:
        since = int(self._wall() // MINUTE) - minutes

        async def read(tx: ReadTx) -> tuple[GpuHistoryRow, ...]:
            return await tx.gpu_history.list(child.name, since)

        return await self._store.read(read)

    def _minutes(self, rows: Iterable[GpuHistoryRow], uuid: str) -> Iterator[pb.GpuMinute]:
        now = self._wall()
        for row in rows:
            minute = find(row.data, uuid)
            if minute is not None:
                yield _minute_view(minute, now - (row.minute + 1) * MINUTE)


def _is_stale(one: Shown) -> bool:
    """It is not heard of: what is known of it was said before."""
    return one.node.silent or one.child.connected_at is None


def _row_of(one: Shown) -> Rollup:
    """The device in a sum. Of one that is not heard of the health counts, and nothing that it measured."""
    stale = _is_stale(one)
    return rollup.of_values(one.device, NOTHING if stale else one.values, stale)


def _order(one: Shown) -> str:
    """What pages go by: member, node and index."""
    return f"{one.child.name}/{one.node_name}/{one.device.index:05d}/{one.device.uuid}"


def _sketches_of(child: Child) -> dict[GpuClass, SketchRow]:
    """By class of whole devices: instances of divided ones are counted under their own class."""
    found: defaultdict[GpuClass, list[SketchRow]] = defaultdict(list)
    for message in child.sketches.values():
        try:
            rows = rows_from_wire(message)
        except InvalidInput:
            continue
        for row in rows:
            if row.gpu_class.vendor != "none":
                found[row.gpu_class].append(row.row)
    return {gpu_class: merge(rows) for gpu_class, rows in found.items()}


def _minute_view(minute: Minute, ago: float) -> pb.GpuMinute:
    def whole(value: float | None) -> int | None:
        return None if value is None else round(value)

    return pb.GpuMinute(
        ago=duration(ago),
        utilization=whole(minute.utilization),
        utilization_max=minute.utilization_max,
        memory_used_mib=whole(minute.memory_used_mib),
        power=whole(minute.power),
        temperature=minute.temperature,
        health=int(minute.health),  # type: ignore[arg-type]  # enums are plain ints at run time
        throttled=minute.throttled,
    )
