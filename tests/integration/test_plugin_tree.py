"""The tree of the credential plugin runs where nothing else is: a chroot with a context file and /dev/urandom.

The chroot shares this machine's network, so that the plugin reaches a real hub with a simulated member.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from arbora.context import write_context
from deploy.plugin.build import FLAGS
from tests.support.hub import RunningHub, running_agent, running_hub

ROOT = Path(__file__).resolve().parents[2]
NEW_ROOT = (
    ["chroot", "--userspec=65532:65532"]  # as Kueue runs
    if os.geteuid() == 0
    else ["unshare", "--user", "--map-root-user", "chroot"]
)
EXEC_INFO = {
    "apiVersion": "client.authentication.k8s.io/v1",
    "kind": "ExecCredential",
    "spec": {
        "interactive": False,
        "cluster": {"server": "https://hub.example.org/members/a", "config": {"path": "/a"}},
    },
}
ARGUMENTS = (
    "credential-plugin",
    "--hub-config=/etc/arbora/context.yaml",
    "--service-account=default/default",
)
pytestmark = pytest.mark.timeout(120)  # the first test builds the tree: seconds, where nothing else is to do


@dataclass(frozen=True)
class Answer:
    """What one call has written."""

    code: int
    output: str
    errors: str


@dataclass(frozen=True)
class Empty:
    """A root folder with the tree at `place` in it, and nothing else but what every container has."""

    root: Path
    place: str

    def command(self, *arguments: str) -> list[str]:
        """In the chroot."""
        start = [f"{self.place}/lib/ld.so", "--library-path", f"{self.place}/lib", f"{self.place}/bin/python3"]
        return [*NEW_ROOT, str(self.root), *start, *FLAGS, f"{self.place}/plugin.py", *arguments]

    async def call(self, *arguments: str, **environment: str) -> Answer:
        """Run it to its end; the environment is what is named here and no more."""
        process = await asyncio.create_subprocess_exec(
            *self.command(*arguments),
            env={"PATH": os.environ["PATH"], **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(20):
            output, errors = await process.communicate()
        return Answer(process.returncode or 0, output.decode(), errors.decode())


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What deploy/plugin.Dockerfile makes: a root that holds /plugin alone; with a volume at /volume."""
    if subprocess.run([*NEW_ROOT, "/", "true"], capture_output=True, check=False).returncode:
        pytest.skip("neither root nor user namespaces: no chroot to run the plugin's tree in")
    root = tmp_path_factory.mktemp("image")
    build = [sys.executable, "-m", "deploy.plugin.build", str(root / "plugin")]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    (root / "volume").mkdir()
    for folder in (root, root / "volume"):
        folder.chmod(0o777)  # as a runtime mounts an emptyDir
    yield root
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def empty(image: Path) -> Empty:
    """The tree where an init container has put it, under another name than it was built for."""
    volume = image / "volume"
    command = Empty(image, "/plugin").command("install", "/volume/somewhere/else")
    subprocess.run(command, env={"PATH": os.environ["PATH"]}, timeout=60, check=True)
    # Every container has this device, and gRPC's random numbers begin there. A file of chance does as well, and
    # is not only root's to make.
    (volume / "dev").mkdir()
    (volume / "dev" / "urandom").write_bytes(os.urandom(65_536))
    return Empty(volume, "/somewhere/else")


def mount_secret(empty: Empty, hub: RunningHub) -> None:
    """Put the context file where the arguments say; readable, as Secrets are mounted."""
    folder = empty.root / "etc" / "arbora"
    folder.mkdir(parents=True)
    write_context(folder / "context.yaml", "hub", hub.context)
    for path, mode in ((folder.parent, 0o755), (folder, 0o755), (folder / "context.yaml", 0o644)):
        path.chmod(mode)


def contents(tree: Path) -> dict[str, tuple[int, int]]:
    """Of each thing in the tree: its mode, and its size."""
    return {
        str(path.relative_to(tree)): (path.lstat().st_mode, path.lstat().st_size if path.is_file() else 0)
        for path in tree.rglob("*")
    }


def test_the_tree_copies_itself_as_it_is_also_over_a_copy(image: Path, empty: Empty) -> None:
    copy = empty.root / empty.place.lstrip("/")
    assert contents(copy) == contents(image / "plugin")
    (copy / "plugin.py").write_text("an older one")
    command = Empty(image, "/plugin").command("install", "/volume/somewhere/else")
    subprocess.run(command, env={"PATH": os.environ["PATH"]}, timeout=60, check=True)
    assert contents(copy) == contents(image / "plugin")
    assert (copy / "lib" / "ld.so").is_symlink()


def test_a_copy_that_is_not_possible_is_an_error_that_says_where_to(image: Path, empty: Empty) -> None:
    command = Empty(image, "/plugin").command("install", "/plugin/plugin.py/below")
    done = subprocess.run(
        command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("arbora: the plugin can't be copied to /plugin/plugin.py/below: ")


def test_the_tree_holds_no_source_no_cache_and_no_path_of_this_machine(image: Path) -> None:
    files = [path for path in (image / "plugin").rglob("*") if path.is_file() and not path.is_symlink()]
    assert [path.name for path in files if path.suffix == ".py"] == ["plugin.py"]
    assert not [path for path in files if "__pycache__" in path.parts]
    compiled = [path for path in files if path.suffix == ".pyc"]
    assert len(compiled) > 300
    assert not [path for path in compiled if str(ROOT).encode() in path.read_bytes()]
    assert not [path.name for path in files if path.name.startswith(("libssl", "libcrypto", "_ssl"))]


async def test_it_prints_a_credential_with_its_end_and_a_second_call_needs_no_hub(
    empty: Empty, tmp_path: Path
) -> None:
    environment = {
        "KUBERNETES_EXEC_INFO": json.dumps(EXEC_INFO),
        "XDG_CACHE_HOME": "/cache",
    }
    async with running_hub(tmp_path / "hub") as hub:
        async with running_agent(hub, tmp_path, "a", allow_tokens=("default/default",)) as agent:
            await agent.until_online()
            mount_secret(empty, hub)
            cold = await empty.call(*ARGUMENTS, **environment)
    assert (cold.code, cold.errors) == (0, "")
    credential = json.loads(cold.output)
    assert credential["apiVersion"] == EXEC_INFO["apiVersion"]
    assert credential["kind"] == "ExecCredential"
    assert credential["status"]["token"].count(".") == 2
    ends = datetime.fromisoformat(credential["status"]["expirationTimestamp"])
    assert 3000 < (ends - datetime.now(UTC)).total_seconds() <= 3600
    # the hub is gone: only the folder of kept tokens can answer now
    again = await empty.call(*ARGUMENTS, **environment)
    assert (again.code, again.errors, again.output) == (0, "", cold.output)
    gone = await empty.call(*ARGUMENTS, KUBERNETES_EXEC_INFO=environment["KUBERNETES_EXEC_INFO"])
    assert (gone.code, gone.output) == (1, "")
    assert gone.errors.startswith("arbora: ")


async def test_without_what_kubernetes_says_it_names_the_error_and_fails(empty: Empty) -> None:
    said_nothing = await empty.call(*ARGUMENTS)
    assert (said_nothing.code, said_nothing.output) == (1, "")
    assert said_nothing.errors.startswith("arbora: no member is named. usage: ")
    said_nonsense = await empty.call(*ARGUMENTS, KUBERNETES_EXEC_INFO="{")
    assert (said_nonsense.code, said_nonsense.output) == (1, "")
    assert "KUBERNETES_EXEC_INFO can't be read" in said_nonsense.errors


async def test_another_word_than_its_two_is_an_error_that_names_them(empty: Empty) -> None:
    answer = await empty.call("install")
    assert (answer.code, answer.output) == (2, "")
    assert answer.errors == "usage: plugin.py credential-plugin [OPTIONS] | install DIR\n"
