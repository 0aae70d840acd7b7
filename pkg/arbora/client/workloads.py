"""Workloads of a hub: `hub.workloads`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf import json_format

from arbora.client.calls import Calls
from arbora.client.waiting import WorkloadDegraded, faults, reached, state_of
from arbora.errors import DeadlineExceeded, InvalidInput, NotFound, Unavailable
from arbora.manifests.documents import WorkloadDocument
from arbora.manifests.objects import Manifest, to_json
from arbora.manifests.placement_document import PlacementDocument, check_placement
from arbora.manifests.selectors import Selector
from arbora.v1 import workload_pb2 as pb
from arbora.v1.workload_pb2_grpc import WorkloadServiceStub
from arbora.workloads.model import State


class Workloads:
    """Submits, watches and withdraws workloads. Every method raises ArboraError."""

    def __init__(self, channel: grpc.aio.Channel, calls: Calls) -> None:
        self._stub = WorkloadServiceStub(channel)
        self._calls = calls

    async def apply(
        self,
        name: str,
        manifests: Iterable[Manifest],
        *,
        members: Iterable[str] = (),
        selector: Selector | None = None,
        labels: Mapping[str, str] | None = None,
        placement: Mapping[str, Any] | None = None,
        overrides: Iterable[Mapping[str, Any]] = (),
        dry_run: bool = False,
    ) -> pb.ApplyWorkloadResponse:
        """Create or change a workload. Repeating it changes nothing.

        placement: further fields of `spec.placement` as in a file, such as {"division": {"mode": "pack"}}.
        overrides: `spec.overrides` as in a file. dry_run: the hub says what would happen, and does nothing.
        """
        where = PlacementDocument(tuple(members), selector, placement or {})
        document = WorkloadDocument(name, where, tuple(manifests), labels or {}, tuple(overrides))
        return await self.apply_document(document, dry_run=dry_run)

    async def apply_document(
        self, document: WorkloadDocument, *, dry_run: bool = False
    ) -> pb.ApplyWorkloadResponse:
        """Create or change the workload that was read from a file."""
        request = request_of(document, dry_run=dry_run)
        if (size := request.ByteSize()) > _MAX_REQUEST_BYTES:
            raise InvalidInput(
                f"workload {document.name} has {size >> 20} MiB, more than {_MAX_REQUEST_BYTES >> 20} MiB",
                hint="Split it into several workloads.",
            )
        return await self._calls.write(self._stub.ApplyWorkload, request)

    def list(self) -> AsyncGenerator[pb.Workload, None]:
        """Workloads in the order of their names, without their manifests."""

        async def page(token: str) -> tuple[list[pb.Workload], str]:
            answer = await self._calls.read(self._stub.ListWorkloads, pb.ListWorkloadsRequest(page_token=token))
            return list(answer.workloads), answer.next_page_token

        return self._calls.pages(page)

    async def get(self, name: str) -> pb.Workload:
        """One workload."""
        return (await self._calls.read(self._stub.GetWorkload, pb.GetWorkloadRequest(name=name))).workload

    async def delete(self, name: str, *, orphan: bool = False) -> pb.Workload:
        """Withdraw a workload from all members, then forget it; the workload on its way out.

        orphan: forget it although members that can't be reached still run it.
        """
        request = pb.DeleteWorkloadRequest(name=name, orphan=orphan)
        return (await self._calls.write(self._stub.DeleteWorkload, request)).workload

    async def explain(self, name: str) -> pb.Explanation:
        """Why a workload is where it is, and not elsewhere, as it would be decided now."""
        request = pb.ExplainWorkloadRequest(name=name)
        return (await self._calls.read(self._stub.ExplainWorkload, request)).explanation

    async def rebalance(self, name: str, *, dry_run: bool = False) -> pb.RebalanceWorkloadResponse:
        """Divide a workload afresh; nothing else moves what is placed. The workload afterwards, and why.

        dry_run: say what would move, and do nothing.
        """
        request = pb.RebalanceWorkloadRequest(name=name, dry_run=dry_run)
        return await self._calls.write(self._stub.RebalanceWorkload, request)

    def watch(self, name: str = "") -> AsyncGenerator[pb.WatchWorkloadsResponse, None]:
        """Every workload once, then each one that changes. name: only this one."""
        return self._calls.stream(self._stub.WatchWorkloads, pb.WatchWorkloadsRequest(name=name))

    async def wait(
        self,
        name: str,
        state: State = State.AVAILABLE,
        timeout: float = 300.0,
        seen: Callable[[pb.Workload], None] | None = None,
    ) -> pb.Workload | None:
        """Wait until the workload's present generation is in `state` or beyond; None if it was to be deleted.

        timeout: seconds. seen: told of each change on the way. A hub that goes away is waited for.
        Raises WorkloadDegraded as soon as it is degraded, DeadlineExceeded, NotFound.
        """
        last: list[pb.Workload] = []

        def note(workload: pb.Workload) -> None:
            last[:] = [workload]
            if seen is not None:
                seen(workload)

        try:
            async with asyncio.timeout(timeout):
                return await self._wait(name, state, note)
        except TimeoutError as error:
            now = state_of(last[0]).name.capitalize() if last else "unknown"
            why = f": {last[0].message}" if last and last[0].message else ""
            raise DeadlineExceeded(
                f"workload {name} is {now}, not {state.name.capitalize()}, after {timeout:g} s{why}",
                hint=f"See `arbora workloads describe {name}`.",
            ) from error

    async def _wait(self, name: str, state: State, note: Callable[[pb.Workload], None]) -> pb.Workload | None:
        attempt = 0
        while True:
            try:
                async with aclosing(self._watched(name)) as changes:
                    async for change in changes:
                        attempt = 0
                        if change is None:
                            if state is State.DELETED:
                                return None
                            raise NotFound(f"no workload {name}")
                        note(change)
                        if reached(change, state):
                            return change
                        if state is not State.DELETED and state_of(change) is State.DEGRADED:
                            raise WorkloadDegraded(
                                f"workload {name} is Degraded: {'; '.join(faults(change)) or change.message}",
                                hint=f"See `arbora workloads describe {name}`.",
                            )
            except Unavailable:
                attempt += 1  # the hub restarts: what was waited for may still come true
            await self._calls.wait(self._calls.retry.pause(attempt, self._calls.chance()))

    async def _watched(self, name: str) -> AsyncGenerator[pb.Workload | None, None]:
        """The workload whenever it changes; None when it is not or no longer there."""
        known = False
        async with aclosing(self._calls.stream(self._stub.WatchWorkloads, _only(name))) as changes:
            async for change in changes:
                if change.HasField("workload"):
                    known = True
                    yield None if change.gone else change.workload
                elif change.synced and not known:
                    yield None


_MAX_REQUEST_BYTES = 7 * 2**20
"""Below the client port's limit, so that the error names the workload and not a frame."""


def _only(name: str) -> pb.WatchWorkloadsRequest:
    return pb.WatchWorkloadsRequest(name=name)


def request_of(document: WorkloadDocument, *, dry_run: bool = False) -> pb.ApplyWorkloadRequest:
    """The call that applies `document`. Raises InvalidInput naming the field of its placement that is wrong."""
    return pb.ApplyWorkloadRequest(
        name=document.name,
        labels=dict(document.labels),
        spec=pb.WorkloadSpec(
            placement=_placement(document.placement),
            manifests=[to_json(manifest) for manifest in document.manifests],
            overrides=_json(document.overrides) if document.overrides else b"",
        ),
        dry_run=dry_run,
    )


def _json(overrides: Iterable[Mapping[str, Any]]) -> bytes:
    """In the order as written, unlike manifests: a variable of a container may use those before it."""
    return json.dumps([*overrides], separators=(",", ":"), ensure_ascii=False).encode()


def _placement(written: PlacementDocument) -> pb.Placement:
    placement = pb.Placement(members=written.members)
    if (selector := written.selector) is not None:
        placement.selector.CopyFrom(
            pb.LabelSelector(
                match_labels=dict(selector.match_labels),
                match_expressions=[
                    pb.LabelRequirement(key=each.key, operator=each.operator, values=each.values)
                    for each in selector.match_expressions
                ],
            )
        )
    try:
        json_format.ParseDict(check_placement(written.rest), placement)
    except json_format.ParseError as error:
        raise InvalidInput(f"is not a placement: {error}", field="spec.placement") from error
    return placement
