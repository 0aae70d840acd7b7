"""How long the credential plugin takes: part `plugin` of the topic `reach`.

As client-go runs it: a process, from its start to its end, with the answer on its standard output. Beside it,
what the interpreter alone takes to start and end, which no program in it can go below.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from arbora.errors import Unavailable
from bench.processes import agent, hub, scratch
from bench.report import Report, quantile
from bench.watching import schedulable, seen_members

NAME = "far"
RUNS = 40
WAIT_SECONDS = 30.0


async def run(report: Report) -> None:
    """Cold, from the cache, and the interpreter by itself."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(scratch())
        one = await stack.enter_async_context(hub(folder))
        client = await stack.enter_async_context(one.client())
        members = await stack.enter_async_context(seen_members(client))
        token = (await client.join_tokens.create(NAME)).token
        where = ("--simulate", "1x8xH100", "--allow-token", "default/default")
        worker = agent(folder, NAME, one.join_address, token, where)
        stack.push_async_callback(worker.stop)
        await worker.start()
        await members.until(lambda: schedulable(members.now.get(f"/{NAME}")), WAIT_SECONDS)
        config = str(one.data_dir / "admin.yaml")
        asked = ("--member", NAME, "--service-account", "default/default", "--hub-config", config)
        plugin = ("-m", "arbora", "credential-plugin", *asked)
        report.say(f"plugin: {RUNS} times cold, from the cache, and the interpreter alone")
        cold, kept, bare = [], [], []
        for number in range(RUNS):
            cache = folder / f"cache-{number}"
            cold.append(await _took(plugin, cache, b"ExecCredential"))
            kept.append(await _took(plugin, cache, b"ExecCredential"))
            bare.append(await _took(("-c", "pass"), cache, b""))
        alone = f"the interpreter alone takes {quantile(bare, 0.5):.0f} ms (p50)"
        how = f"process start to end, a token minted by a member through one hub; {alone}"
        report.quantile("plugin.cold", cold, 0.5, "ms", how, at_most=250)
        how = f"process start to end, the token is kept; {alone}"
        report.quantile("plugin.cached", kept, 0.5, "ms", how, at_most=80)


async def _took(arguments: Sequence[str], cache: Path, wanted: bytes) -> float:
    """Milliseconds. Raises Unavailable."""
    begun = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
    )
    printed, _ = await process.communicate()
    took = (time.perf_counter() - begun) * 1000
    if process.returncode or wanted not in printed:
        raise Unavailable(f"the plugin ended with {process.returncode}: {printed.decode()[-400:]}")
    return took
