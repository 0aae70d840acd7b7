"""The examples of how a client is told of the credential plugin fit the plugin, its image and each other."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from arbora.cli import credential_plugin
from arbora.version import __version__
from deploy.plugin.build import command

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "deploy" / "examples" / "credential-plugin"
PATCHES = ("kueue-image-volume", "kueue-init-container")
TREE = Path("/arbora/plugin")


def read(name: str) -> Any:
    return yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())


def pod(patch: str) -> dict[str, Any]:
    return dict(read(patch)["spec"]["template"]["spec"])


@pytest.fixture
def provider() -> dict[str, Any]:
    (found,) = json.loads((EXAMPLES / "provider-file.json").read_text())["providers"]
    return dict(found)


def test_kueue_is_told_the_same_as_other_consumers(provider: dict[str, Any]) -> None:
    (kueues,) = read("kueue-configuration")["multiKueue"]["clusterProfile"]["accessProviders"]
    assert kueues == provider


def test_the_plugin_is_started_as_the_build_says_and_is_given_the_cluster(provider: dict[str, Any]) -> None:
    run = provider["execConfig"]
    start = [*command(TREE), str(TREE / "plugin.py"), "credential-plugin"]
    assert [run["command"], *run["args"]][: len(start)] == start
    assert run["apiVersion"] in credential_plugin.VERSIONS
    assert run["provideClusterInfo"] is True


def test_the_plugin_understands_its_arguments(provider: dict[str, Any]) -> None:
    arguments = provider["execConfig"]["args"]
    given = arguments[arguments.index("credential-plugin") + 1 :]
    asked = credential_plugin._asked(given, {"path": "/eu/edge-7"})
    assert asked == {
        "member": "/eu/edge-7",
        "account": "kueue-system/multikueue-sa",
        "config": "/etc/arbora/context.yaml",
    }


@pytest.mark.parametrize("patch", PATCHES)
def test_what_the_arguments_name_is_mounted(patch: str, provider: dict[str, Any]) -> None:
    (container,) = pod(patch)["containers"]
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod(patch)["volumes"]}
    assert {mount["name"] for mount in mounts.values()} == set(volumes)
    assert str(TREE.parent) in mounts
    asked = credential_plugin._asked(
        provider["execConfig"]["args"][provider["execConfig"]["args"].index("credential-plugin") + 1 :],
        {"path": "/a"},
    )
    folder = str(PurePosixPath(asked["config"]).parent)
    assert "secret" in volumes[mounts[folder]["name"]]
    assert mounts[folder]["readOnly"] is True
    (cache,) = (each["value"] for each in provider["execConfig"]["env"] if each["name"] == "XDG_CACHE_HOME")
    assert volumes[mounts[cache]["name"]]["emptyDir"]["medium"] == "Memory"
    assert not mounts[cache].get("readOnly")


def test_the_init_container_fills_the_volume_that_kueue_reads() -> None:
    (copying,) = pod("kueue-init-container")["initContainers"]
    assert "command" not in copying  # the image's entry point is the plugin
    assert copying["args"] == ["install", str(TREE)]
    (filled,) = copying["volumeMounts"]
    assert filled["mountPath"] == str(TREE.parent)
    (container,) = pod("kueue-init-container")["containers"]
    assert filled["name"] in {
        mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == str(TREE.parent)
    }


def test_both_ways_mount_all_but_the_plugin_alike() -> None:
    first, second = (pod(patch) for patch in PATCHES)
    assert first["containers"] == second["containers"]
    assert first["volumes"][1:] == second["volumes"][1:]


def test_images_have_this_version() -> None:
    (copying,) = pod("kueue-init-container")["initContainers"]
    mounted = pod("kueue-image-volume")["volumes"][0]["image"]["reference"]
    assert mounted == copying["image"] == f"registry.example.org/arbora-plugin:{__version__}"
