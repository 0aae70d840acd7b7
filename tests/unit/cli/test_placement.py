"""Placement on the command line: explain, rebalance, dry runs, what is pending."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import Result

from arbora.cli.explain_view import explanation_lines
from arbora.v1 import workload_pb2 as pb
from tests.support.fake_hub import FakeHub

Arbora = Callable[..., Result]

WORKLOAD = """\
apiVersion: arbora.dev/v1
kind: Workload
metadata: {name: train}
spec:
  placement:
    selector: {}
    clusters: 2
    division: {mode: available}
    priority: 5
    tolerations: [{key: team, value: vision, effect: NoSchedule}]
  overrides:
    - members: [edge-7]
      edits: [{labels: {operator: add, values: {region: eu}}}]
  manifests:
    - {apiVersion: batch/v1, kind: Job, metadata: {name: x}}
"""
SCORERS = ("resource", "performance", "cost", "compliance", "topology", "staleness", "binpack")
PATHS = {"/edge-7", "/edge-8"}


def ok(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def flat(text: str) -> str:
    return " ".join(text.split())


def scored(path: str, replicas: int, score: float, unknown: str = "") -> pb.ScoredMember:
    parts = [
        pb.ScorePart(
            name=name,
            weight=0.3 - index / 50,
            score=50 if name == unknown else score,
            reason="prices are not known" if name == unknown else "",
        )
        for index, name in enumerate(SCORERS)
    ]
    return pb.ScoredMember(path=path, replicas=replicas, room=9, total=score, parts=parts)


def rejected(path: str, code: str, sentence: str) -> pb.RejectedMember:
    return pb.RejectedMember(path=path, filter=code.lower(), code=code, sentence=sentence)


def explained() -> pb.Explanation:
    return pb.Explanation(
        decision="7 of 9 replicas go to /edge-7 and /edge-8, because these two have the most free GPUs of all "
        "members that the selector names.",
        pending=2,
        reasons=["no member has a node with 8 free GPUs", "no member has a node with 8 free GPUs"],
        wake="8 free GPUs on one node of /edge-9",
        members=5,
        counts={"IN_PIECES": 2, "CORDONED": 1},
        scored=[scored("/edge-7", 4, 87.26), scored("/edge-8", 3, 61.0, unknown="cost")],
        rejected=[
            rejected("/edge-9", "IN_PIECES", "has 8 free GPUs in pieces"),
            rejected("/edge-6", "IN_PIECES", "has 8 free GPUs in pieces"),
            rejected("/edge-5", "CORDONED", "is cordoned"),
        ],
        assumptions=["the kind Thing is placed as one unit"],
    )


@pytest.fixture
def train(hub: FakeHub, arbora: Arbora) -> FakeHub:
    hub.add_member("/edge-7")
    hub.add_member("/edge-8")
    hub.explanations["train"] = explained()
    ok(arbora("apply", "-f", "-", input=WORKLOAD))
    with hub.changed:
        workload = hub.workloads["train"]
        workload.pending = 2
        workload.message = "2 replicas wait: no member has a node with 8 free GPUs"
        for part, replicas in zip(workload.assignments, (4, 3), strict=True):
            part.replicas = replicas
    return hub


def test_explain_says_what_was_decided_and_what_would_help(train: FakeHub, arbora: Arbora) -> None:
    text = flat(ok(arbora("workloads", "explain", "train")))
    assert "Decision: 7 of 9 replicas go to /edge-7 and /edge-8" in text
    assert "Pending: 2 replicas" in text
    assert text.count("no member has a node with 8 free GPUs") == 1, "one reason is told once"
    assert "Would help: 8 free GPUs on one node of /edge-9" in text
    assert "Assumed: the kind Thing is placed as one unit" in text


def test_explain_shows_members_with_their_scores_and_a_question_mark_where_nothing_was_known(
    train: FakeHub, arbora: Arbora
) -> None:
    lines = [line.split() for line in ok(arbora("workloads", "explain", "train")).splitlines()]
    head = next(line for line in lines if line[:1] == ["MEMBER"])
    assert head[:5] == ["MEMBER", "REPLICAS", "ROOM", "TOTAL", "RESOURCE"]
    rows = {line[0]: dict(zip(head, line, strict=True)) for line in lines if line[:1] and line[0] in PATHS}
    assert (rows["/edge-7"]["REPLICAS"], rows["/edge-7"]["TOTAL"], rows["/edge-7"]["COST"]) == ("4", "87.3", "87")
    assert rows["/edge-8"]["COST"] == "50?"


def test_explain_groups_the_rejected_by_reason(train: FakeHub, arbora: Arbora) -> None:
    text = ok(arbora("workloads", "explain", "train"))
    assert text[text.index("Not there:") :].splitlines() == [
        "Not there:",
        "  IN_PIECES: 2 members",
        "    /edge-9, /edge-6: has 8 free GPUs in pieces",
        "  CORDONED: 1 member",
        "    /edge-5: is cordoned",
    ]


def test_explain_fits_80_columns_and_names_the_scores_that_do_not(train: FakeHub, arbora: Arbora) -> None:
    text = ok(arbora("workloads", "explain", "train"))
    assert max(map(len, text.splitlines())) <= 80
    assert "With -o wide also: " in text
    assert "STALENESS" not in text
    assert "binpack" in flat(text)


def test_explain_wide_leaves_nothing_out(train: FakeHub, arbora: Arbora) -> None:
    text = ok(arbora("workloads", "explain", "train", "-o", "wide"))
    for name in SCORERS:
        assert f"{name.upper()} x0." in text
    assert "? cost: prices are not known" in text
    assert "With -o wide" not in text


def test_explain_is_complete_as_data(train: FakeHub, arbora: Arbora) -> None:
    data = json.loads(ok(arbora("workloads", "explain", "train", "-o", "json")))
    assert data["pending"] == 2
    assert data["counts"] == {"CORDONED": 1, "IN_PIECES": 2}
    assert data["scored"][1]["parts"][2] == {
        "name": "cost",
        "weight": 0.26,
        "score": 50.0,
        "reason": "prices are not known",
    }
    assert data["rejected"][2]["sentence"] == "is cordoned"
    assert yaml.safe_load(ok(arbora("workloads", "explain", "train", "-o", "yaml"))) == data


def test_explaining_what_is_not_there_exits_4(arbora: Arbora) -> None:
    assert arbora("workloads", "explain", "nothing").exit_code == 4
    assert arbora("workloads", "rebalance", "nothing").exit_code == 4


def test_a_large_fleet_is_summed_up_and_only_wide_names_everyone() -> None:
    many = [rejected(f"/edge-{index}", "FULL", f"has {index % 8} GPUs free") for index in range(100)]
    explanation = pb.Explanation(decision="nothing fits", rejected=many, counts={"FULL": 100, "LOST": 7})
    short = explanation_lines(explanation)
    assert len(short) < 20
    assert max(map(len, short)) <= 80
    assert "  FULL: 100 members" in short
    assert "  LOST: 7 members" in short, "only counted, because the hub named none"
    assert "    and 3 more like that, see -o wide" in short
    wide = "\n".join(explanation_lines(explanation, wide=True))
    assert all(f"/edge-{index}" in wide for index in range(100))


def test_a_long_path_is_shortened_in_a_table_only() -> None:
    path = "/" + "/".join(["x" * 60] * 3)
    explanation = pb.Explanation(scored=[pb.ScoredMember(path=path, parts=scored(path, 1, 5).parts)])
    assert max(map(len, explanation_lines(explanation))) <= 80
    assert any(path in line for line in explanation_lines(explanation, wide=True))


def test_rebalance_says_what_moved(train: FakeHub, arbora: Arbora) -> None:
    train.divided_afresh["train"] = {"/edge-7": 2, "/edge-8": 3, "/edge-9": 4}
    text = ok(arbora("workloads", "rebalance", "train", "--dry-run"))
    assert text.splitlines()[:4] == [
        "workload/train would move (dry run)",
        "  MEMBER   BEFORE  AFTER",
        "  /edge-7  4       2",
        "  /edge-9  -       4",
    ]
    assert [part.replicas for part in train.workloads["train"].assignments] == [4, 3]
    assert ok(arbora("workloads", "rebalance", "train")).startswith("workload/train rebalanced\n")
    assert [part.replicas for part in train.workloads["train"].assignments] == [2, 3, 4]
    assert ok(arbora("workloads", "rebalance", "train")).startswith("workload/train unchanged\n")
    same = ok(arbora("workloads", "rebalance", "train", "--dry-run"))
    assert same.startswith("workload/train would not move (dry run)\n")


def test_a_member_that_would_lose_its_part_is_named_although_nothing_is_said_of_it_otherwise(
    train: FakeHub, arbora: Arbora
) -> None:
    train.divided_afresh["train"] = {"/edge-8": 7}
    text = ok(arbora("workloads", "rebalance", "train", "--dry-run"))
    assert text.splitlines()[1:4] == [
        "  MEMBER   BEFORE  AFTER",
        "  /edge-7  4       -",
        "  /edge-8  3       7",
    ]


def test_rebalance_as_data_is_the_hubs_answer(train: FakeHub, arbora: Arbora) -> None:
    train.divided_afresh["train"] = {"/edge-8": 7}
    data = json.loads(ok(arbora("workloads", "rebalance", "train", "--dry-run", "-o", "json")))
    assert data["workload"]["name"] == "train"
    assert data["moves"] == [{"path": "/edge-7", "before": 4}, {"path": "/edge-8", "before": 3, "after": 7}]
    assert data["explanation"]["pending"] == 2


def test_a_dry_run_on_the_server_explains_and_shows_differences(train: FakeHub, arbora: Arbora) -> None:
    train.differences["other"] = {"/edge-7": "--- Job x\n+++ Job x\n+  region: eu\n", "/edge-8": ""}
    train.explanations["other"] = explained()
    text = ok(arbora("apply", "-f", "-", "--dry-run=server", input=WORKLOAD.replace("train", "other")))
    assert text.startswith("workload/other created (dry run)\nDecision:")
    assert "Different in /edge-7:\n  --- Job x\n  +++ Job x\n  +  region: eu\n" in text
    assert "Different in /edge-8" not in text
    assert "other" not in train.workloads
    same = ok(arbora("apply", "--dry-run", "-f", "-", input=WORKLOAD.replace("train", "other")))
    assert same == text, "without a value it is the server's"


def test_a_dry_run_on_the_client_needs_no_hub(run: Arbora, tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(WORKLOAD)
    assert ok(run("apply", "-f", str(file), "--dry-run=client")) == "workload/train checked (dry run: client)\n"
    items = json.loads(ok(run("apply", "-f", str(file), "--dry-run", "client", "-o", "json")))["items"]
    assert items == [yaml.safe_load(WORKLOAD)]
    file.write_text(WORKLOAD.replace("clusters: 2", "clusters: -2"))
    result = run("apply", "-f", str(file), "--dry-run=client")
    assert result.exit_code == 2
    assert "w.yaml:7: spec.placement.clusters: -2 is below 0" in result.stderr


def test_dry_run_takes_only_its_three_words(run: Arbora) -> None:
    assert run("apply", "-f", "x", "--dry-run=perhaps").exit_code == 2


def test_apply_says_at_once_that_something_is_pending(train: FakeHub, arbora: Arbora) -> None:
    result = arbora("apply", "-f", "-", input=WORKLOAD)
    assert ok(result) == "workload/train unchanged, 2 replicas pending\n"
    assert "see `arbora workloads explain train`" in result.stderr


def test_the_list_shows_what_is_pending_and_why(train: FakeHub, arbora: Arbora) -> None:
    head, line = (text.split() for text in ok(arbora("workloads", "list")).splitlines())
    assert line[head.index("PENDING")] == "2"
    wide = ok(arbora("workloads", "list", "-o", "wide"))
    assert "2 replicas wait: no member has a node with 8 free GPUs" in wide
    head, line = (text.split() for text in wide.splitlines())
    assert line[head.index("REPLICAS")] == "7"


def test_describe_shows_replicas_placement_and_why_something_waits(train: FakeHub, arbora: Arbora) -> None:
    text = ok(arbora("workloads", "describe", "train"))
    assert ["/edge-7", "Pending", "4"] in [line.split() for line in text.splitlines()]
    for fact in (
        "Pending: 2 replicas",
        "Because: no member has a node with 8 free GPUs",
        "Would help: 8 free GPUs on one node of /edge-9",
        "Placement: all members",
        "Members: at most 2",
        "Division: available",
        "Tolerates: team=vision:NoSchedule",
        "Priority: 5",
        "Overrides: 1",
    ):
        assert fact in flat(text), fact


def test_overrides_are_shown_as_they_were_written(train: FakeHub, arbora: Arbora) -> None:
    data = json.loads(ok(arbora("workloads", "describe", "train", "-o", "json")))
    assert data["spec"]["overrides"] == yaml.safe_load(WORKLOAD)["spec"]["overrides"]


def test_a_fleet_cannot_be_applied(run: Arbora) -> None:
    text = "apiVersion: arbora.dev/v1\nkind: Fleet\nmembers: [{name: a}]\n"
    result = run("apply", "-f", "-", "--dry-run=client", input=text)
    assert result.exit_code == 2
    assert "stdin:1: a Fleet can't be applied" in result.stderr
    assert "arbora simulate" in result.stderr
