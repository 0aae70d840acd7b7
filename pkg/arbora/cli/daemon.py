"""Loading the hub's and the agent's code, which a client's installation need not hold."""

from __future__ import annotations

import importlib
from typing import Any

from arbora.errors import NotFound


def load(module: str, extra: str) -> Any:
    """The module `module` of the hub or the agent.

    extra: what to install for it. Raises NotFound saying so if it, or a library it needs, is not there.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise NotFound(
            f"the {extra} is not installed here: there is no {error.name}",
            hint=f"Install it with: pip install 'arbora[{extra}]'",
        ) from error
