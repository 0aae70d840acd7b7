"""What the Dockerfiles promise, as far as it can be seen without a container engine."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import typer

from arbora.cli.main import app
from arbora.version import __version__
from arbora_agent.manifest.agent import render
from arbora_agent.manifest.settings import ManifestSettings
from arbora_hub.settings import CLIENT_PORT, JOIN_PORT, SESSION_PORT
from deploy.plugin.build import command
from tests.unit.deploy.dockerfile import copied, environment, last, stages

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
IMAGES = ("hub", "agent")
"""The daemons; the credential plugin's is of another kind, and has tests of its own."""
OTHER = {"hub": "agent", "agent": "hub"}


def dockerfile(image: str) -> Path:
    return DEPLOY / f"{image}.Dockerfile"


@pytest.mark.parametrize("image", (*IMAGES, "plugin"))
def test_everything_that_is_copied_is_there(image: str) -> None:
    for source in copied(dockerfile(image)):
        assert (ROOT / source).exists(), source


@pytest.mark.parametrize("image", IMAGES)
def test_the_code_of_the_other_daemon_is_left_out(image: str) -> None:
    assert image in copied(dockerfile(image))
    assert OTHER[image] not in copied(dockerfile(image))


@pytest.mark.parametrize("image", IMAGES)
def test_the_build_tools_stay_in_the_first_stage(image: str) -> None:
    first, final = stages(dockerfile(image))
    assert first[0].rest == "python:3.11-slim AS build"
    assert final[0].rest == "python:3.11-slim"
    assert [each.rest for each in final if each.word == "COPY"] == ["--from=build /opt/arbora /opt/arbora"]


@pytest.mark.parametrize("image", (*IMAGES, "plugin"))
def test_versions_are_those_of_the_constraints(image: str) -> None:
    first, _ = stages(dockerfile(image))
    assert environment(first)["PIP_CONSTRAINT"] == "/src/constraints.txt"
    assert "constraints.txt" in copied(dockerfile(image))


@pytest.mark.parametrize("image", (*IMAGES, "plugin"))
def test_it_runs_as_a_user_with_a_number_that_is_not_root(image: str) -> None:
    user = last(stages(dockerfile(image))[-1], "USER").rest
    numbers = re.fullmatch(r"(\d+):(\d+)", user)
    assert numbers is not None, user
    assert "0" not in numbers.groups()


def test_the_agents_image_has_the_user_of_the_manifest() -> None:
    deployment = render(ManifestSettings("hub.example.org:7444", "arb1.token"))[-1]
    pod = deployment["spec"]["template"]["spec"]
    assert last(stages(dockerfile("agent"))[-1], "USER").rest.partition(":")[0] == str(
        pod["securityContext"]["runAsUser"]
    )
    assert pod["containers"][0]["command"] == last(stages(dockerfile("agent"))[-1], "ENTRYPOINT").arguments


@pytest.mark.parametrize("image", IMAGES)
def test_the_entry_point_is_the_console_script_and_its_command_exists(image: str) -> None:
    final = stages(dockerfile(image))[-1]
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    (entry,) = last(final, "ENTRYPOINT").arguments
    assert entry in scripts
    called = typer.main.get_command(app)
    arguments = last(final, "CMD").arguments
    for word in (each for each in arguments if not each.startswith("-")):
        called = called.commands[word]  # type: ignore[attr-defined]
    known = {option for parameter in called.params for option in parameter.opts}
    assert {each.partition("=")[0] for each in arguments if each.startswith("-")} <= known


@pytest.mark.parametrize("image", IMAGES)
def test_it_keeps_its_data_where_its_user_may_write(image: str) -> None:
    final = stages(dockerfile(image))[-1]
    made = [each.rest for each in final if each.word == "RUN"]
    user = last(final, "USER").rest.partition(":")[0]
    assert made == [f"install -d -o {user} -g {user} -m 0700 /var/lib/arbora"]
    places = environment(final)
    assert places.get("ARBORA_DATA_DIR", places.get("XDG_DATA_HOME", "") + "/arbora").startswith(
        "/var/lib/arbora"
    )
    assert places["PYTHONDONTWRITEBYTECODE"] == "1"


def test_the_hub_opens_its_three_ports_and_the_agent_none() -> None:
    final = stages(dockerfile("hub"))[-1]
    ports = {CLIENT_PORT, JOIN_PORT, SESSION_PORT}
    assert {int(port) for port in last(final, "EXPOSE").arguments} == ports
    assert {int(each.rpartition(":")[2]) for each in last(final, "CMD").arguments if "=" in each} == ports
    assert not [each for each in stages(dockerfile("agent"))[-1] if each.word == "EXPOSE"]


def wheel_of_what_is_copied(image: str, folder: Path) -> Path:
    """As `pip install .` in the image makes it."""
    tree, out = folder / "src", folder / "out"
    tree.mkdir()
    for source in copied(dockerfile(image)):
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tree / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, tree / source)
    flags = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *flags, "-w", str(out), str(tree)],
        check=True,
        env={key: value for key, value in os.environ.items() if not key.startswith("PIP_")},
    )
    (wheel,) = out.glob(f"arbora-{__version__}-*.whl")
    return wheel


@pytest.mark.parametrize("image", IMAGES)
def test_a_wheel_of_what_is_copied_holds_that_daemon_and_not_the_other(image: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel_of_what_is_copied(image, tmp_path)) as archive:
        names = archive.namelist()
        scripts = configparser.ConfigParser()
        scripts.read_string(archive.read(f"arbora-{__version__}.dist-info/entry_points.txt").decode())
    assert {f"arbora_{image}/app.py", "arbora/__main__.py"} <= set(names)
    assert not [name for name in names if name.startswith(f"arbora_{OTHER[image]}/")]
    assert scripts["console_scripts"]["arbora"] == "arbora.__main__:main"


def test_a_wheel_of_what_the_plugin_copies_holds_neither_daemon(tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel_of_what_is_copied("plugin", tmp_path)) as archive:
        names = archive.namelist()
    assert "arbora/cli/credential_plugin.py" in names
    assert {name.partition("/")[0] for name in names} == {"arbora", f"arbora-{__version__}.dist-info"}


def test_the_plugins_image_is_what_the_build_made_and_nothing_else() -> None:
    first, final = stages(dockerfile("plugin"))
    assert first[0].rest == "python:3.11-slim AS build"
    assert last(first, "RUN").rest == "/opt/arbora/bin/python -m deploy.plugin.build /plugin"
    words = ["FROM", "COPY", "USER", "ENTRYPOINT", "CMD"]
    assert [each.word for each in final] == words
    assert final[0].rest == "scratch"
    assert final[1].rest == "--from=build /plugin /plugin"


def test_the_plugins_image_starts_as_the_build_says() -> None:
    final = stages(dockerfile("plugin"))[-1]
    assert last(final, "ENTRYPOINT").arguments == [*command(Path("/plugin")), "/plugin/plugin.py"]
    assert last(final, "CMD").arguments == ["credential-plugin"]
