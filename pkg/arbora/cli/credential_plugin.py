"""`arbora credential-plugin`: a client-go credential plugin (KEP-541) that gets tokens of a member through a hub.

    KUBERNETES_EXEC_INFO -> a kept token that is still good, or a new one -> one ExecCredential on stdout

client-go runs it while a request waits: what is imported here at the top is little, and the command line's own
libraries are left out. Whatever goes wrong stands on stderr, with exit code 1. Nothing but the credential is ever
written to stdout.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from arbora.cli import credential_cache as cache

VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
SECONDS = 3.0
"""How long the hub may take: a client waits."""
SKEW = 10.0
"""A token counts as ended so much sooner, as clocks differ."""
USAGE = "usage: arbora credential-plugin --member PATH --service-account NAMESPACE/NAME [--lifetime 1h]"
OPTIONS = {
    "--member": "member",
    "--service-account": "account",
    "--audience": "audience",
    "--lifetime": "lifetime",
    "--hub-config": "config",
    "--context": "context",
}


class _Wrong(Exception):
    """What is wrong, in a sentence."""


def main(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> int:
    """The exit code."""
    try:
        version, config = _exec_info(environ.get("KUBERNETES_EXEC_INFO", ""))
        asked = _asked(arguments, config)
        if "context" not in asked and environ.get("ARBORA_CONTEXT"):
            asked["context"] = environ["ARBORA_CONTEXT"]
        question = [*(f"{key}={asked[key]}" for key in sorted(asked)), *_hub_files(asked, environ)]
        file = cache.place(cache.folder(environ), question)
        kept = cache.read(file)
        if kept is None:
            kept = _fetch(asked, environ)
            cache.write(file, kept["token"], kept["made"], kept["expires"])
        sys.stdout.write(_credential(version, kept))
        return 0
    except _Wrong as error:
        sys.stderr.write(f"arbora: {error}\n")
        return 1


def _exec_info(text: str) -> tuple[str, dict[str, Any]]:
    """The version that the client speaks, and what its cluster's configuration says. Raises _Wrong."""
    if not text:
        return VERSIONS[0], {}
    try:
        given = json.loads(text)
        version = given["apiVersion"]
        cluster = (given.get("spec") or {}).get("cluster") or {}
        config = cluster.get("config") or {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _Wrong(f"KUBERNETES_EXEC_INFO can't be read: {error}") from error
    if version not in VERSIONS:
        raise _Wrong(f"the client speaks {version}; known are {' and '.join(VERSIONS)}")
    return version, config if isinstance(config, dict) else {}


def _asked(arguments: Sequence[str], config: Mapping[str, Any]) -> dict[str, str]:
    """What is asked for; arguments count before the cluster's configuration. Raises _Wrong."""
    found: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        option, separator, value = rest.pop(0).partition("=")
        if option not in OPTIONS:
            raise _Wrong(f"{option} is not known. {USAGE}")
        if not separator:
            if not rest:
                raise _Wrong(f"{option} has no value. {USAGE}")
            value = rest.pop(0)
        found[OPTIONS[option]] = value
    if "member" not in found and isinstance(config.get("path"), str):
        found["member"] = config["path"]
    if not found.get("member"):
        raise _Wrong(f"no member is named. {USAGE}")
    namespace, _, name = found.get("account", "").partition("/")
    if not namespace or not name or "/" in name:
        raise _Wrong(f"--service-account is not NAMESPACE/NAME. {USAGE}")
    return found


def _hub_files(asked: Mapping[str, str], environ: Mapping[str, str]) -> list[str]:
    """The files that say which hub is asked and as whom, as they are now: what one hub gave is for no other."""
    named = asked.get("config") or environ.get("ARBORA_CONFIG")
    if named:
        files = [Path(named)]
    else:
        from arbora.context import ADMIN_FILE, hub_data_dir, user_file

        files = [user_file(environ), hub_data_dir(environ) / ADMIN_FILE]
    found = []
    for file in files:
        try:
            state = file.stat()
        except OSError:
            continue
        found.append(f"{file.absolute()} {state.st_ino} {state.st_mtime_ns}")
    return found


def _fetch(asked: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, Any]:
    """A new token from the member. Raises _Wrong."""
    import asyncio

    from arbora.cli.durations import parse_duration
    from arbora.client.hub import HubClient
    from arbora.context import find_context
    from arbora.errors import ArboraError

    async def fetch() -> dict[str, Any]:
        config = Path(asked["config"]) if asked.get("config") else None
        _, context = find_context(config, asked.get("context", ""), environ)
        namespace, _, name = asked["account"].partition("/")
        audiences = [asked["audience"]] if asked.get("audience") else []
        lifetime = parse_duration(asked.get("lifetime") or "1h", "--lifetime")
        made = time.time()
        async with asyncio.timeout(SECONDS), HubClient.from_context(context, deadline=SECONDS) as hub:
            token = await hub.tokens.create(asked["member"], namespace, name, audiences, lifetime)
        return {
            "token": token.secret.reveal(),
            "made": made,
            "expires": made + token.lifetime.total_seconds() - SKEW,
        }

    try:
        return asyncio.run(fetch())
    except TimeoutError as error:
        raise _Wrong(f"the hub did not answer within {SECONDS:g} s") from error
    except ArboraError as error:
        raise _Wrong(f"{error}" + (f". {error.hint}" if error.hint else "")) from error


def _credential(version: str, kept: Mapping[str, Any]) -> str:
    """The answer. With its end: a client that is not told keeps a token until a server refuses it."""
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(kept["expires"]))
    status = {"token": kept["token"], "expirationTimestamp": ends}
    return json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status})
