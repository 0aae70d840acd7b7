"""The process of a node agent: `python -m arbora_agent.node_agent SETTINGS`, where SETTINGS is a JSON object.

`arbora agent run --mode node` reads the command line and then becomes this. It runs on every node with GPUs, so
it goes without the command line's libraries, which would be a quarter of its memory.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arbora_agent.node_agent.settings import NodeSettings


def main(arguments: list[str]) -> int:
    """Run until told to stop. Returns the exit code."""
    # structlog loads Rich wherever that is installed, for tracebacks in colours that nobody sees here: 6 MB.
    sys.modules["rich"] = None  # type: ignore[assignment]

    from arbora.cli.daemon import run_daemon
    from arbora.errors import ArboraError
    from arbora_agent.node_agent.app import run

    try:
        settings = _settings(arguments)
        run_daemon(lambda stop: run(settings, stop))
    except ArboraError as error:
        sys.stderr.write(f"error: {error}\n" + (f"hint: {error.hint}\n" if error.hint else ""))
        return error.exit_code
    return 0


def _settings(arguments: list[str]) -> NodeSettings:
    """What the one argument says. Raises InvalidInput."""
    from arbora.errors import InvalidInput
    from arbora_agent.node_agent.settings import NodeSettings

    try:
        (text,) = arguments
        given: dict[str, Any] = dict(json.loads(text))
        for name in ("token_file", "ca_file", "pod_resources"):
            if given.get(name) is not None:
                given[name] = Path(given[name])
        return NodeSettings(**given)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"these are no settings of a node agent: {error}",
            hint="Start it with `arbora agent run --mode node`, which writes them.",
        ) from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
