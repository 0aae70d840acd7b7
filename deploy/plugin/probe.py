"""Loads whatever a call of the credential plugin loads, and says as JSON where it came from.

    python -I -S -B probe.py FOLDER...

It is run twice: by the Python that builds, to see what has to go into the tree, and by the tree, to prove that it
needs nothing outside. The folders are put at the end of sys.path. Nothing goes over a network.
"""

from __future__ import annotations

import sys

LEFT_OUT = ("grpc_tools", "grpc_health", "grpc_reflection", "_ssl", "_hashlib", "_ctypes")
"""What is imported only if it is there. TLS is gRPC's own and hashes are built in, so OpenSSL isn't needed."""
sys.modules.update(dict.fromkeys(LEFT_OUT))  # type: ignore[arg-type]  # importing None is an ImportError

import asyncio  # noqa: E402 - it would load _ssl
import json  # noqa: E402
from datetime import timedelta  # noqa: E402
from pathlib import Path  # noqa: E402


async def call() -> None:
    """Make what a call makes, up to the first packet."""
    import traceback

    from google.protobuf.duration_pb2 import Duration

    from arbora.cli import credential_plugin
    from arbora.cli.durations import parse_duration
    from arbora.client.hub import HubClient
    from arbora.context import Context
    from arbora.identity.seal import new_recipient, open_sealed, seal
    from arbora.secret import Secret

    assert credential_plugin.SECONDS and parse_duration("1h", "") == timedelta(hours=1)
    Duration().FromTimedelta(timedelta(hours=1))
    private, public = new_recipient()
    assert open_sealed(private, seal(public, b"text", context=b""), context=b"") == b"text"
    async with HubClient.from_context(Context("127.0.0.1:1", "", Secret("arbk")), deadline=1.0):
        pass
    traceback.format_exc()


def main(folders: list[str]) -> None:
    """Load, then print `modules` (name -> file) and `mapped` (each file in this process's memory)."""
    sys.path.extend(folders)
    asyncio.run(call())
    files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    maps = Path("/proc/self/maps")
    lines = maps.read_text().splitlines() if maps.exists() else []
    mapped = {line.split(maxsplit=5)[5] for line in lines if len(line.split(maxsplit=5)) == 6}
    found = {
        "modules": {name: file for name, file in files.items() if file and name != "__main__"},
        "mapped": sorted(path for path in mapped if path.startswith("/")),
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
