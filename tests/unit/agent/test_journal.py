"""What an agent still knows after a restart without a link."""

from __future__ import annotations

from pathlib import Path

import pytest

from arbora.mirror.exchange import Exchange
from arbora.mirror.records import Lane
from arbora.workloads.model import AssignmentStatus, State
from arbora.workloads.wire import status_to_wire
from arbora_agent.journal import Journal

LIMIT = 100_000


def exchanged(*keys: str) -> tuple[Exchange, Exchange]:
    """A hub that has put `keys`, and an agent that has received them."""
    hub, agent = Exchange(7), Exchange(8)
    for key in keys:
        hub.put(key, key.encode())
    hub.resume(agent.cursors())
    while (frame := hub.next_frame(LIMIT)) is not None:
        if frame.batch is not None:
            agent.received(frame.lane, frame.batch)
    return hub, agent


async def test_desired_state_and_cursor_come_back_together(tmp_path: Path) -> None:
    hub, agent = exchanged("assignment/a", "settings")
    await Journal(tmp_path).save(agent)
    restored = Exchange(9, inboxes=await Journal(tmp_path).load())
    assert dict(restored.received_items()) == dict(agent.received_items())
    assert restored.cursors() == agent.cursors()
    hub.cut()
    hub.resume(restored.cursors())
    assert hub.next_frame(LIMIT) is None, "nothing is sent again"


async def test_token_requests_are_never_written(tmp_path: Path) -> None:
    _, agent = exchanged("assignment/a", "token-request/secret-id")
    await Journal(tmp_path).save(agent)
    assert b"secret-id" not in (tmp_path / "desired.journal").read_bytes()


async def test_the_last_report_comes_back_so_that_a_finished_job_does_not_run_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    status = AssignmentStatus("a", 3, State.COMPLETE)
    journal.reported("a", status_to_wire(status).SerializeToString())
    journal.reported("b", b"")
    journal.reported("b", None)
    await journal.save(Exchange(8))
    again = Journal(tmp_path)
    await again.load()
    assert again.last_status("a") == status
    assert again.last_status("b") is None


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"arbora-journal-1\n\xff\xff\xff\xff\xff\xff\xff\xff"])
async def test_a_damaged_journal_costs_only_the_head_start(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "desired.journal").write_bytes(damage)
    assert all(not inbox.items for inbox in (await Journal(tmp_path).load()).values())


async def test_a_first_start_finds_nothing(tmp_path: Path) -> None:
    assert await Journal(tmp_path).load() == {}
    assert Exchange(8, inboxes={}).inbox(Lane.BULK).cursor.epoch == 0
