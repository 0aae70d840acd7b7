"""The load generator: a process that enrolls N members and holds their sessions with the real dialing code.

    stdin   {"do": "join", "hub": "127.0.0.1:7444", "token": "arb1...", "members": 1000, "prefix": "m", "used": 3}
            {"do": "look"}      {"do": "assigned", "assigned": 500}      {"do": "exit"}
    stdout  {"enrolled": 1000, "connected": 1000, "assigned": 500, "cpu_seconds": 12.3}    a line per command

Each member is an identity of its own (key, CSR, certificate), kept in memory, an Exchange and a Link: one TLS
connection, the records `status` and one `sketch/<class>`, heartbeats, reconnects. What an agent has beyond
that, its cluster and its workloads, is left out: assignments arrive, are counted, and nothing is done about
them. It ends with its standard input, so it never outlives who started it. Started by `herd.py`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import resource
import secrets
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import structlog

from arbora.capacity.gpus import GpuClass, NodeGpus
from arbora.capacity.sketch import sketch
from arbora.capacity.wire import sketch_to_wire
from arbora.errors import ArboraError
from arbora.identity import join_token
from arbora.identity.names import Kind
from arbora.mirror.exchange import Exchange
from arbora.mirror.inbox import Applied
from arbora.session import enroll
from arbora.session.credential import Credential
from arbora.session.link import Introduction, Link, LinkEvents
from arbora.session.state import LinkState, Phase
from arbora.v1 import member_pb2
from arbora.version import __version__

ENROLLING = 16
"""Members that enroll at the same time."""
NODES = 4
GPUS_PER_NODE = 8


class MemoryStore:
    """Keeps one identity in memory. Implements `session.credential.CredentialStore`."""

    def __init__(self) -> None:
        self._credential: Credential | None = None
        self._pending: bytes | None = None

    async def load(self) -> Credential | None:
        """See CredentialStore."""
        return self._credential

    async def save(self, credential: Credential) -> None:
        """See CredentialStore."""
        self._credential = credential

    async def pending_key(self) -> bytes | None:
        """See CredentialStore."""
        return self._pending

    async def save_pending_key(self, key_pem: bytes) -> None:
        """See CredentialStore."""
        self._pending = key_pem


class Fleet:
    """All members of this process."""

    def __init__(self) -> None:
        self.enrolled = 0
        self.assigned = 0
        """Assignments that have arrived, repeated ones included."""
        self._online: set[str] = set()
        self._turn = asyncio.Semaphore(ENROLLING)
        self._changed = asyncio.Event()

    def look(self) -> dict[str, Any]:
        """What is told after each command."""
        return {
            "enrolled": self.enrolled,
            "connected": len(self._online),
            "assigned": self.assigned,
            "cpu_seconds": time.process_time(),
        }

    async def connected(self, members: int) -> None:
        """Returns when so many have a session."""
        await self._until(lambda: len(self._online) >= members)

    async def has_assigned(self, assignments: int) -> None:
        """Returns when so many assignments have arrived since the start."""
        await self._until(lambda: self.assigned >= assignments)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def member(self, name: str, hub: str, token: join_token.JoinToken, used: int) -> None:
        """One member: join, then hold the session until cancelled. used: GPUs of each node that are taken."""
        store = MemoryStore()
        uid = secrets.token_hex(8)
        async with self._turn:
            credential = await enroll.enroll(
                hub, token, store, kind=Kind.AGENT, name=name, cluster_uid=uid, version=__version__
            )
        self.enrolled += 1

        def heard(state: LinkState) -> None:
            if state.phase is Phase.ONLINE:
                self._online.add(name)
            else:
                self._online.discard(name)
            self._changed.set()

        def applied(applied: Applied) -> None:
            self.assigned += sum(key.startswith("assignment/") for key in applied.changed)
            self._changed.set()

        link = Link(
            credential,
            store,
            Exchange(secrets.randbits(62) + 1),
            Introduction(Kind.AGENT, instance_id=secrets.token_hex(8), cluster_uid=uid),
            LinkEvents(applied=applied, state=heard),
            random.Random(secrets.randbits(64)),
        )
        link.put("status", status_record())
        for key, value in sketch_records(used):
            link.put(key, value)
        await link.run()


@cache
def status_record(nodes: int = NODES) -> bytes:
    """What a member says of itself."""
    status = member_pb2.ClusterStatus(
        kubernetes_version="v1.36.3", agent_version=__version__, nodes=nodes, nodes_ready=nodes, api_healthy=True
    )
    return status.SerializeToString(deterministic=True)


@cache
def sketch_records(used: int, nodes: int = NODES) -> tuple[tuple[str, bytes], ...]:
    """Key and value of what a member says of its GPUs: nodes with eight H100 each, of which `used` are taken."""
    node = NodeGpus("n", GpuClass("nvidia", "H100"), GPUS_PER_NODE, GPUS_PER_NODE, used, True, 48_000, 400_000)
    return tuple(
        (f"sketch/{each.key}", sketch_to_wire(each, row).SerializeToString(deterministic=True))
        for each, row in sketch([node] * nodes, {}).items()
    )


async def serve(reader: asyncio.StreamReader) -> None:
    """Do as told until told to exit or the input ends; then every session is cut."""
    fleet = Fleet()
    tasks: set[asyncio.Task[None]] = set()
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ended(task: asyncio.Task[None]) -> None:
        tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not failed.done():
            failed.set_exception(error)

    try:
        while line := await _unless(failed, reader.readline()):
            command = json.loads(line)
            if command["do"] == "exit":
                break
            if command["do"] == "join":
                token = join_token.parse(command["token"])
                before = len(tasks)
                for number in range(command["members"]):
                    name = f"{command['prefix']}-{before + number:05d}"
                    task = asyncio.create_task(
                        fleet.member(name, command["hub"], token, command["used"]), name=name
                    )
                    tasks.add(task)
                    task.add_done_callback(ended)
                await _unless(failed, fleet.connected(before + command["members"]))
            if command["do"] == "assigned":
                await _unless(failed, fleet.has_assigned(command["assigned"]))
            print(json.dumps(fleet.look()), flush=True)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _unless(failed: asyncio.Future[None], action: Any) -> Any:
    """The result of `action`, or the error of a member that failed for good meanwhile."""
    task = asyncio.ensure_future(action)
    await asyncio.wait((task, failed), return_when=asyncio.FIRST_COMPLETED)
    if failed.done():
        task.cancel()
        failed.result()
    return task.result()


async def _main() -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await serve(reader)


def main() -> int:
    """The exit code."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        asyncio.run(_main())
    except ArboraError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
