"""The credential plugin as tests run it: in this process, with an environment of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from arbora.cli import credential_plugin as plugin
from tests.support.fake_hub import FakeHub

V1, V1BETA1 = "client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"
ASKED = ("--member", "edge-7", "--service-account", "team/runner")
SECRET = "a-token-of-the-member"


@dataclass
class Ran:
    """What came of it."""

    code: int
    out: str
    err: str

    @property
    def credential(self) -> dict[str, Any]:
        """What it answered."""
        assert (self.code, self.err) == (0, "")
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def token(self) -> str:
        """That of the answer."""
        return str(self.credential["status"]["token"])

    @property
    def wrong(self) -> str:
        """The sentence about what went wrong."""
        assert (self.code, self.out) == (1, "")
        assert self.err.startswith("arbora: ")
        assert self.err.count("\n") == 1
        assert SECRET not in self.err
        return self.err


Plugin = Callable[..., Ran]


def runner(capsys: pytest.CaptureFixture[str]) -> Plugin:
    """`run(*arguments, info=..., NAME=value)`: info is what KUBERNETES_EXEC_INFO says."""

    def run(*arguments: str, info: object = None, **environ: str) -> Ran:
        given = {**os.environ, **environ}
        if info is not None:
            given["KUBERNETES_EXEC_INFO"] = info if isinstance(info, str) else json.dumps(info)
        code = plugin.main(arguments or ASKED, given)
        return Ran(code, *capsys.readouterr())

    return run


def exec_info(version: object = V1, **spec: object) -> dict[str, object]:
    """As a client says it."""
    return {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False, **spec}}


def asked_for(hub: FakeHub) -> int:
    """How many tokens the hub was asked for."""
    return hub.calls.count("CreateToken")
