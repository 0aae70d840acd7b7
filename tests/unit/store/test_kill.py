"""A hub that is killed at any moment: what it acknowledged is there, and nothing is there by halves."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from arbora_hub.store.opening import open_store
from arbora_hub.store.port import ReadTx

PROGRAM = Path(__file__).with_name("acknowledging_writer.py")


async def acknowledged_until_killed(path: Path, prefix: str, after: int) -> list[str]:
    """Run the writer, kill it once it said `after` lines; the ids that it acknowledged until it was dead."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), str(path), prefix, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    lines: list[bytes] = []
    try:
        while len(lines) < after:
            line = await process.stdout.readline()
            assert line, "the writer ended by itself"
            lines.append(line)
    finally:
        process.kill()
    lines += (await process.stdout.read()).splitlines(keepends=True)
    await process.wait()
    return [line[4:-1].decode() for line in lines if line.startswith(b"ack ") and line.endswith(b"\n")]


async def stored(path: Path) -> set[str]:
    """The ids of the children that are there. Opening checks that the file is sound."""
    store = await open_store(path)

    async def read(tx: ReadTx) -> set[str]:
        return {row.name for row in await tx.children.list()}

    names = await store.read(read)
    await store.close()
    return names


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(1, 6))
async def test_every_acknowledged_write_survives_a_kill(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "hub.db"
    chance = random.Random(seed)
    acknowledged: set[str] = set()
    for kill in range(2):
        # 1: before there is a schema, or while it is made
        after = chance.choice((1, chance.randrange(2, 20), chance.randrange(20, 400)))
        said = await acknowledged_until_killed(path, f"r{kill}", after)
        assert len(said) >= after - 2, "all but two lines are acknowledgements"
        acknowledged.update(said)
        names = await stored(path)
        assert acknowledged <= names
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            # each write is a child and a setting: none is there by halves
            assert {row[0] for row in connection.execute("SELECT key FROM settings")} == names
