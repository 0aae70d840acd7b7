"""Guards around every test: no task, thread, child process or open file may outlive the test that made it.

Warnings are errors by `filterwarnings` in pyproject.toml. A guard gives what is already ending a moment to end,
because grpc and SQLite close on threads of their own.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeVar

import psutil
import pytest

T = TypeVar("T")

GRACE_SECONDS = 3.0
"""How long what is left over may take to end."""


@pytest.fixture(autouse=True)
def no_thread_file_or_process_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compare what there is before with what there is after."""
    threads, files, children = _threads(), _files(), _children()
    yield
    _none_left("threads", lambda: _threads() - threads)
    _none_left("open files and listening sockets", lambda: _files() - files)
    if request.node.get_closest_marker("envtest") is None:  # the control plane lives for the whole session
        _none_left("child processes", lambda: _children() - children)


@pytest.fixture(autouse=True)
def no_task_is_left_behind(request: pytest.FixtureRequest) -> None:
    """For tests that run on an event loop."""
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        request.getfixturevalue("_no_task_left")


@pytest.fixture
async def _no_task_left() -> AsyncIterator[None]:
    yield
    for _ in range(int(GRACE_SECONDS / 0.01)):
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task() and not task.done()]
        if not left:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"tasks are left over: {[task.get_name() for task in left]}: {left}")


def _none_left(what: str, look: Callable[[], set[T]]) -> None:
    end = time.monotonic() + GRACE_SECONDS
    while left := look():
        if time.monotonic() > end:
            raise AssertionError(f"{what} are left over: {sorted(map(str, left))}")
        gc.collect()
        time.sleep(0.02)


def _threads() -> set[threading.Thread]:
    """Those that would hold up the end of a process; daemon threads, such as grpc's pollers, do not.

    The loop's own executor ends with the loop, which is after the guards of an asynchronous test.
    """
    return {one for one in threading.enumerate() if not one.daemon and not one.name.startswith("asyncio_")}


def _files() -> set[tuple[int, str]]:
    """Regular files by descriptor and path, and sockets that listen. Connections are grpc's to pool."""
    found: set[tuple[int, str]] = set()
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():  # noqa: PTH112, PTH208
        try:
            target = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
        except OSError:
            continue  # the descriptor of this very listing
        if target.startswith("/") and not target.startswith(("/dev/", "/proc/")) and "(deleted)" not in target:
            found.add((int(name), target))
    for one in psutil.Process().net_connections("inet"):
        if one.status == psutil.CONN_LISTEN:
            found.add((one.fd, f"listens on {one.laddr}"))
    return found


def _children() -> set[int]:
    return {one.pid for one in psutil.Process().children() if one.status() != psutil.STATUS_ZOMBIE}
