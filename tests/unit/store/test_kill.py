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


@pytest.mark.faults
@pytest.mark.parametrize("seed", [1, 2])
async def test_every_acknowledged_write_survives_a_kill(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "hub.db"
    chance = random.Random(seed)
    acknowledged: list[str] = []
    for kill in range(5):
        after = 1 if kill == 0 else chance.randrange(2, 400)  # the first: while the schema is made, or before
        acknowledged += await acknowledged_until_killed(path, f"r{kill}", after)
        store = await open_store(path)  # checks that the file is sound

        async def read(tx: ReadTx) -> tuple[set[str], list[str]]:
            names = {row.name for row in await tx.children.list()}
            return names, [name for name in acknowledged if await tx.settings.get(name) is None]

        names, missing = await store.read(read)
        await store.close()
        assert set(acknowledged) <= names
        assert missing == []
        with closing(sqlite3.connect(path)) as connection:
            halves = {row[0] for row in connection.execute("SELECT key FROM settings")}
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert halves == names
    assert len(acknowledged) > 100
