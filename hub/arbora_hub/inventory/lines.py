"""The lines that a child hub sends, one for each member below it: checked and kept. No I/O.

Only in memory: a hub that restarts gets them anew. What a line says is the child's word about its own subtree,
shown to people; nothing is given away by it.
"""

from __future__ import annotations

from arbora.errors import InvalidInput
from arbora.identity.names import Path
from arbora.v1 import member_pb2
from arbora_hub.inventory.child import Child

MAX_LINES = 20_000
"""Of one child."""
MAX_LINE_BYTES = 32 * 1024


def take_line(child: Child, key: str, value: bytes | None) -> None:
    """A record `member/<path>` came in, or went away (None). Raises InvalidInput, DecodeError; then nothing is
    kept of it."""
    path = key.partition("/")[2]
    if child.row.kind != "hub":
        raise InvalidInput("only a hub has members below it")
    before = child.lines.pop(path, None)
    if value is None:
        return
    if not path or "/".join(Path.parse(path).labels) != path:
        raise InvalidInput(f"{path[:80]!r} is not a relative path")
    if len(value) > MAX_LINE_BYTES:
        raise InvalidInput(f"is longer than {MAX_LINE_BYTES} bytes")
    if before is None and len(child.lines) >= MAX_LINES:
        raise InvalidInput(f"more than {MAX_LINES} members below one hub")
    line = member_pb2.MemberLine.FromString(value)
    line.path = path
    child.lines[path] = line
