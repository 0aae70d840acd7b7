"""Where the API server is, how its certificate is checked, and as whom we speak.

For: `api.py`. Must not speak to the API server. Inside a cluster the service account's mounted files say it
all and are read here, because importing the client library costs 18 MB and they are three files; from a
kubeconfig (contexts, exec plugins, OIDC) the client library reads it, imported only then.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from arbora.errors import InvalidInput
from arbora.secret import Secret
from arbora.session.addresses import join

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
DEFAULT_NAMESPACE = "arbora-system"
MAX_AUTHORITIES = 8
"""A cluster has one or two of its own; more are those of an operating system."""
TOKEN_REREAD = 60.0
"""Seconds after which the mounted token is read again; the kubelet renews it long before it expires."""

Bearer = Callable[[bool], Awaitable[Secret]]
"""Gives the Authorization header's value, empty for none. With True the last one was refused: get a new one."""


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach one API server."""

    server: str
    """https://host:port, without a slash at the end."""
    tls: ssl.SSLContext
    bearer: Bearer
    namespace: str = DEFAULT_NAMESPACE
    """The agent's own namespace."""
    server_name: str | None = None
    """The name in the API server's certificate, where it is not the host."""
    proxy: str | None = None

    @property
    def address(self) -> str:
        """host:port of the API server; empty where it is only reached through a proxy."""
        where = urlsplit(self.server)
        return "" if self.proxy else join(where.hostname or "", where.port or 443)

    def ca_pem(self) -> bytes:
        """What verifies the API server; empty where the usual authorities do."""
        trusted = self.tls.get_ca_certs(binary_form=True)
        own = trusted if len(trusted) <= MAX_AUTHORITIES else []
        return "".join(map(ssl.DER_cert_to_PEM_cert, own)).encode()


AccessSource = Callable[[], Awaitable[Access]]
"""Reads the files or runs the plugins that give access. Raises InvalidInput."""


def in_cluster(
    directory: Path = SERVICE_ACCOUNT, environ: Mapping[str, str] = os.environ, *, namespace: str = ""
) -> AccessSource:
    """Access as the pod's service account. `namespace` defaults to the pod's own."""

    async def read() -> Access:
        host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "")
        if not host or not port:
            raise InvalidInput(
                "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set, so this is not a pod",
                hint="Run the agent in a cluster, or give it a kubeconfig.",
            )
        token = _TokenFile(directory / "token")
        await token(False)
        own = directory / "namespace"
        return Access(
            server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
            tls=_context(await asyncio.to_thread(_existing, directory / "ca.crt")),
            bearer=token,
            namespace=namespace or (await asyncio.to_thread(_read, own)).strip() or DEFAULT_NAMESPACE,
        )

    return read


def from_kubeconfig(
    path: Path | str | None = None, context: str | None = None, *, namespace: str = DEFAULT_NAMESPACE
) -> AccessSource:
    """Access as a user of a kubeconfig: `path`, else KUBECONFIG, else ~/.kube/config."""

    async def read() -> Access:
        files = str(path) if path else os.environ.get("KUBECONFIG") or _home()
        return await _read_kubeconfig(files, context, namespace)

    return read


class _TokenFile:
    """The mounted service account token, read again from time to time and when it was refused."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._value = Secret("")
        self._read_at = float("-inf")

    async def __call__(self, refused: bool) -> Secret:
        if refused or time.monotonic() - self._read_at > TOKEN_REREAD:
            token = (await asyncio.to_thread(_read, self._path)).strip()
            if not token:
                raise InvalidInput(f"{self._path} is empty", hint="Is the service account's token mounted?")
            self._value, self._read_at = Secret(f"Bearer {token}"), time.monotonic()
        return self._value


async def _read_kubeconfig(files: str, context: str | None, namespace: str) -> Access:
    from kubernetes.aio.client import Configuration
    from kubernetes.aio.config import ConfigException, load_kube_config

    async def load() -> Configuration:
        configuration = Configuration()
        try:
            await load_kube_config(files, context, configuration, persist_config=False)  # type: ignore[no-untyped-call]
        except (ConfigException, OSError, TypeError, KeyError) as error:
            # A file that is missing or empty comes out of the library as a TypeError.
            raise InvalidInput(
                f"kubeconfig {files} can't be used: {error}", hint="Check the path and the context."
            ) from error
        return configuration

    loaded = await load()
    value = Secret(loaded.api_key.get("BearerToken", ""))

    async def bearer(refused: bool) -> Secret:
        nonlocal value
        if refused and value:
            value = Secret((await load()).api_key.get("BearerToken", ""))
        return value

    tls = _context(loaded.ssl_ca_cert)
    if loaded.cert_file:
        tls.load_cert_chain(loaded.cert_file, loaded.key_file)
    if not loaded.verify_ssl:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    return Access(
        server=str(loaded.host).rstrip("/"),
        tls=tls,
        bearer=bearer,
        namespace=namespace,
        server_name=loaded.tls_server_name or None,
        proxy=loaded.proxy or None,
    )


def _context(ca_file: Path | str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    # Many clusters' own CAs lack the key identifiers that Python 3.13 asks for by default; chain, name and
    # time are checked all the same, as client-go does.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _existing(path: Path) -> Path:
    if not path.exists():
        raise InvalidInput(f"{path} is missing", hint="Is the service account mounted into the pod?")
    return path


def _home() -> str:
    return str(Path("~/.kube/config").expanduser())


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise InvalidInput(
            f"{path} can't be read: {error.strerror}", hint="Is it mounted into the pod?"
        ) from error
