"""`arbora simulate`: what it reads, and what the hub's code makes of it, as a table and as data."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

Arbora = Callable[..., Result]

EXAMPLES = Path(__file__).resolve().parents[3] / "deploy" / "examples"
FLEET = EXAMPLES / "simulate" / "fleet.yaml"
WORKLOAD = """\
apiVersion: arbora.dev/v1
kind: Workload
metadata: {name: train}
spec:
  placement: {members: [dc-1]}
  manifests:
    - {apiVersion: batch/v1, kind: Job, metadata: {name: x}}
"""


def ok(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def placed(answer: dict[str, Any]) -> dict[str, int]:
    """Member -> replicas."""
    return {part["path"]: part["replicas"] for part in answer["workload"]["assignments"]}


def test_a_workload_is_explained_without_any_hub(run: Arbora) -> None:
    lines = ok(run("simulate", "-f", str(FLEET), "-f", "-", input=WORKLOAD)).splitlines()
    assert lines[0] == "workload/train"
    assert lines[1].startswith("Decision:   placed on 1 member")
    assert [line.split()[:2] for line in lines if line.startswith("  /")] == [["/dc-1", "1"]]
    assert "    /old-1: is lost" in lines
    assert "    /lab-1: is cordoned" in lines
    assert max(map(len, lines)) <= 80


def test_as_data_it_is_what_a_dry_run_on_a_server_gives(run: Arbora) -> None:
    (item,) = json.loads(ok(run("simulate", "-f", str(FLEET), "-f", "-", "-o", "json", input=WORKLOAD)))["items"]
    assert placed(item) == {"/dc-1": 1}
    assert item["explanation"]["scored"][0]["path"] == "/dc-1"
    assert {one["path"] for one in item["explanation"]["rejected"]} >= {"/old-1", "/lab-1", "/edge-7"}


@pytest.mark.parametrize(
    ("example", "members"),
    [
        ("gpu-type", {"/edge-7": 1}),
        ("most-free", {"/dc-2": 1}),
        ("divided", {"/cn-1": 4, "/dc-1": 4, "/dc-2": 4}),
    ],
)
def test_a_placement_example_goes_where_it_says(run: Arbora, example: str, members: dict[str, int]) -> None:
    file = EXAMPLES / f"placement-{example}.yaml"
    (item,) = json.loads(ok(run("simulate", "-f", str(FLEET), "-f", str(file), "-o", "json")))["items"]
    assert placed(item) == members


def test_overrides_and_division_are_shown_as_differences(run: Arbora) -> None:
    text = ok(run("simulate", "-f", str(FLEET), "-f", str(EXAMPLES / "placement-divided.yaml")))
    assert "Different in /dc-1, /dc-2:" in text, "what is equal is shown once"
    china = text[text.index("Different in /cn-1:") : text.index("Different in /dc-1")]
    assert "+        image: registry.cn.example.org/nvidia/cuda" in china
    assert "+  replicas: 4" in china


def test_a_workload_takes_its_room_from_those_after_it(run: Arbora) -> None:
    text = EXAMPLES.joinpath("placement-most-free.yaml").read_text()
    many = "---\n".join(text.replace("most-free", f"most-free-{number}") for number in range(5))
    items = json.loads(ok(run("simulate", "-f", str(FLEET), "-f", "-", "-o", "json", input=many)))["items"]
    places = [next(iter(placed(item)), "") for item in items]
    assert places[0] == "/dc-2"
    assert places.count("/dc-1") == 1, "it has one node that is free as a whole"
    assert places.count("/dc-2") == 2
    assert places[-1] == ""
    assert items[-1]["workload"]["pending"] == 1
    assert items[-1]["explanation"]["wake"]


def test_gpus_that_the_fleet_does_not_know_are_refused_as_at_a_hub(run: Arbora) -> None:
    text = EXAMPLES.joinpath("placement-gpu-type.yaml").read_text()
    pod = "            restartPolicy: Never\n"
    assert pod in text
    text = text.replace(pod, pod + "            nodeSelector: {nvidia.com/gpu.product: T44}\n")
    result = run("simulate", "-f", str(FLEET), "-f", "-", input=text)
    assert result.exit_code == 2
    assert (
        "spec.manifests[0]: asks for nvidia.com/gpu (T44), which no member has ever shown; "
        "the nearest known are nvidia T4, "
    ) in result.stderr
    assert ok(run("simulate", "-f", str(FLEET), "-f", "-", input=text.replace("T44", "V100"))), (
        "its member is lost"
    )
    bare = "apiVersion: arbora.dev/v1\nkind: Fleet\nmembers: [{name: a}]\n"
    assert "placed nowhere" in ok(run("simulate", "-f", "-", input=f"{bare}---\n{text}")), "nothing is known"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (WORKLOAD, "there is no Fleet in what was given"),
        ("apiVersion: arbora.dev/v1\nkind: Fleet\nmembers: [{name: a}]\n", "there is no Workload"),
        (
            "apiVersion: arbora.dev/v1\nkind: Fleet\nmembers: [{name: a}]\n---\n"
            "apiVersion: arbora.dev/v1\nkind: Fleet\nmembers: [{name: a}]\n",
            "there are 2 Fleets: stdin:1, stdin:5",
        ),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n", "Pod p is in no Workload"),
    ],
)
def test_what_is_missing_is_told(run: Arbora, text: str, error: str) -> None:
    result = run("simulate", "-f", "-", input=text)
    assert result.exit_code == 2
    assert error in result.stderr


def test_without_the_hubs_code_it_says_what_to_install(run: Arbora, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "arbora_hub.workloads.simulation", None)
    result = run("simulate", "-f", str(FLEET), "-f", "-", input=WORKLOAD)
    assert result.exit_code == 4
    assert "hint: Install it with: pip install 'arbora[hub]'" in result.stderr
