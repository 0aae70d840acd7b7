"""A real Kubernetes control plane for tests: etcd, kube-apiserver and, if wanted, kube-controller-manager.

    async with ControlPlane() as plane:
        ... plane.kubeconfig, plane.server, plane.ca_file ...

Everything listens on loopback, lives in one temporary folder and dies with the process that started it,
even if that is killed. There is no kubelet and no scheduler: `driver.py` plays both through the API.
What runs here is the plain upstream code, so what it rejects, defaults and numbers is the truth.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from tests.envtest.assets import MISSING, Assets, find
from tests.envtest.certificates import issue, make_authority, make_signing_key

CONTROLLERS = (
    "serviceaccount,namespace,job,cronjob,garbagecollector,deployment,replicaset,statefulset,daemonset,"
    "disruption,endpoint,endpointslice,root-ca-cert-publisher,ttl-after-finished"
)
"""Not nodelifecycle, podgc and taint-eviction: without kubelets they would evict what the tests run."""

POLL = 0.05
"""Seconds between two questions whether a process is ready."""

DIES_WITH_PARENT = (
    "import ctypes,os,sys;ctypes.CDLL(None).prctl(1,9) if sys.platform=='linux' else None;"
    "os.execv(sys.argv[1],sys.argv[1:])"
)


class ControlPlaneFailed(RuntimeError):
    """A process of the control plane ended or did not become ready; carries the end of its log."""


@dataclass
class ControlPlane:
    """One control plane. `start` and `stop`, or an async context."""

    assets: Assets | None = None
    controllers: bool = True
    """Run kube-controller-manager, so that Jobs make pods and namespaces get their service account."""
    fsync: bool = True
    """Whether etcd waits for the disk, as in production."""
    extra_apiserver_flags: tuple[str, ...] = ()
    folder: Path = field(init=False)
    port: int = field(init=False, default=0)
    _running: dict[str, subprocess.Popen[bytes]] = field(init=False, default_factory=dict)
    _etcd_port: int = field(init=False, default=0)

    @property
    def server(self) -> str:
        """The URL of the API server; stays the same when it is restarted."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def ca_file(self) -> Path:
        """The CA that signed the API server's certificate."""
        return self.folder / "ca.crt"

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig with all rights (group system:masters)."""
        return self.folder / "admin.kubeconfig"

    @property
    def kubectl(self) -> Path | None:
        """The kubectl of the same release, if it was built."""
        return self.assets.kubectl if self.assets else None

    async def __aenter__(self) -> ControlPlane:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, deadline: float = 60.0) -> None:
        """Start everything and return when it is ready. Leaves nothing behind if that fails."""
        self.assets = self.assets or find()
        if self.assets is None:
            raise ControlPlaneFailed(MISSING)
        self.folder = Path(tempfile.mkdtemp(prefix="arbora-envtest-"))
        try:
            async with asyncio.timeout(deadline):
                self._write_identities()
                self._etcd_port, peer_port, self.port = free_ports(3)
                self._start_etcd(peer_port)
                self._start_apiserver()
                await self._ready("kube-apiserver", self._apiserver_is_ready)
                if self.controllers and self.assets.kube_controller_manager is not None:
                    self._start_controllers()
                    await self._ready("kube-controller-manager", self._controllers_are_ready)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End every process, youngest first, and remove the folder."""
        for name in reversed(list(self._running)):
            await self._end(name, kill=name != "etcd")
        shutil.rmtree(self.folder, ignore_errors=True)

    async def kill_apiserver(self) -> None:
        """SIGKILL to the API server; etcd and what it stores go on."""
        await self._end("kube-apiserver", kill=True)

    async def start_apiserver(self) -> None:
        """Start the API server again on the same port and wait until it is ready."""
        self._start_apiserver()
        await self._ready("kube-apiserver", self._apiserver_is_ready)

    def _write_identities(self) -> None:
        authority = make_authority(self.folder)
        issue(authority, "apiserver", "kube-apiserver")
        issue(authority, "admin", "arbora-envtest-admin", "system:masters")
        make_signing_key(self.folder / "service-accounts.key")

    def _start_etcd(self, peer_port: int) -> None:
        assert self.assets is not None
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{peer_port}"
        flags = [f"--data-dir={self.folder / 'etcd'}", f"--listen-client-urls={client}"]
        flags += [f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}"]
        flags += [f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}"]
        if not self.fsync:
            flags.append("--unsafe-no-fsync")
        self._run("etcd", self.assets.etcd, flags)

    def _start_apiserver(self) -> None:
        assert self.assets is not None
        folder = self.folder
        self._write_kubeconfig()
        flags = [
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--tls-cert-file={folder / 'apiserver.crt'}",
            f"--tls-private-key-file={folder / 'apiserver.key'}",
            f"--client-ca-file={self.ca_file}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.96.0.0/24",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={folder / 'service-accounts.key'}",
            f"--service-account-signing-key-file={folder / 'service-accounts.key'}",
            # A kubelet would take the not-ready taint off again; there is none.
            "--disable-admission-plugins=TaintNodesByCondition",
            "--endpoint-reconciler-type=none",
            "--shutdown-delay-duration=0s",
            # It needs etcd 3.5.13, and the wheel's is older: watches of Kueue would end at once, again and again.
            "--feature-gates=WatchList=false",
            *self.extra_apiserver_flags,
        ]
        self._run("kube-apiserver", self.assets.kube_apiserver, flags)

    def _start_controllers(self) -> None:
        assert self.assets is not None
        assert self.assets.kube_controller_manager is not None
        self._controllers_port = free_ports(1)[0]
        flags = [
            f"--kubeconfig={self.kubeconfig}",
            f"--controllers={CONTROLLERS}",
            f"--service-account-private-key-file={self.folder / 'service-accounts.key'}",
            f"--root-ca-file={self.ca_file}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._controllers_port}",
            f"--cert-dir={self.folder}",
            "--authorization-always-allow-paths=/healthz",
        ]
        self._run("kube-controller-manager", self.assets.kube_controller_manager, flags)

    def _run(self, name: str, binary: Path, flags: list[str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-S", "-c", DIES_WITH_PARENT, str(binary), *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def _end(self, name: str, *, kill: bool) -> None:
        process = self._running.pop(name, None)
        if process is None:
            return
        process.kill() if kill else process.terminate()
        try:
            await asyncio.to_thread(process.wait, 5)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)

    async def _ready(self, name: str, is_ready: Callable[[], bool]) -> None:
        while True:
            for other, process in self._running.items():
                if process.poll() is not None:
                    raise ControlPlaneFailed(f"{other} ended with {process.returncode}:\n{self._log_of(other)}")
            if await asyncio.to_thread(is_ready):
                return
            await asyncio.sleep(POLL)

    def _log_of(self, name: str) -> str:
        return "\n".join((self.folder / f"{name}.log").read_text(errors="replace").splitlines()[-15:])

    def _apiserver_is_ready(self) -> bool:
        # /readyz turns true before the namespaces that every cluster has are there.
        return all(self._answers(path) for path in ("/readyz", "/api/v1/namespaces/default"))

    def _controllers_are_ready(self) -> bool:
        return self._answers("/api/v1/namespaces/default/serviceaccounts/default")

    def _answers(self, path: str) -> bool:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.load_cert_chain(self.folder / "admin.crt", self.folder / "admin.key")
        try:
            with urllib.request.urlopen(self.server + path, timeout=2, context=context) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def _write_kubeconfig(self) -> None:
        """As JSON, which every reader of kubeconfig takes, since JSON is YAML."""
        user = {
            "client-certificate": str(self.folder / "admin.crt"),
            "client-key": str(self.folder / "admin.key"),
        }
        cluster = {"server": self.server, "certificate-authority": str(self.ca_file)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "envtest", "cluster": cluster}],
            "users": [{"name": "admin", "user": user}],
            "contexts": [{"name": "envtest", "context": {"cluster": "envtest", "user": "admin"}}],
            "current-context": "envtest",
        }
        self.kubeconfig.write_text(json.dumps(document))


def free_ports(count: int) -> list[int]:
    """Ports that are free now; held open together so that they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
