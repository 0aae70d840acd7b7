"""Every command that talks to a hub, against a hub over TLS."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from typer.testing import Result

from arbora.context import read_contexts
from arbora.v1 import event_pb2, member_pb2
from arbora.v1 import workload_pb2 as pb
from tests.support.fake_hub import FakeHub

Arbora = Callable[..., Result]


def ok(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture
def fleet(hub: FakeHub) -> FakeHub:
    hub.add_member("/edge-7", gpus=("H100", 32, 20), labels={"gpu": "h100", "zone": "b"})
    hub.add_member("/edge-8", gpus=("H100", 8, 0), liveness=member_pb2.LIVENESS_LOST)
    hub.add_member("/eu/paris", gpus=("A100", 16, 16))
    return hub


def test_members_are_listed_with_state_and_free_gpus(fleet: FakeHub, arbora: Arbora) -> None:
    table = rows(ok(arbora("members", "list")))
    assert table[0] == ["MEMBER", "STATE", "GPUS", "FREE", "NODES", "WORKLOADS", "HEARD"]
    assert table[1] == ["/edge-7", "Online", "12/32", "4/4", "0", "3s"]
    assert table[2][:3] == ["/edge-8", "Lost", "8/8"]


def test_wide_adds_columns_and_no_headers_leaves_the_header_out(fleet: FakeHub, arbora: Arbora) -> None:
    assert "gpu=h100,zone=b" in ok(arbora("members", "list", "-o", "wide"))
    assert rows(ok(arbora("members", "list", "--no-headers")))[0][0] == "/edge-7"


def test_a_piped_table_is_never_cut(hub: FakeHub, arbora: Arbora) -> None:
    hub.add_member("/" + "x" * 63, labels={"k" * 60: "v" * 60})
    line = ok(arbora("members", "list", "-o", "wide", "--no-headers"))
    assert "k" * 60 + "=" + "v" * 60 in line
    assert "x" * 63 in line


def test_json_is_camel_case_with_every_field_and_kubernetes_words(fleet: FakeHub, arbora: Arbora) -> None:
    items = json.loads(ok(arbora("members", "list", "-l", "gpu=h100", "-o", "json")))["items"]
    (member,) = items
    assert member["liveness"] == "Online"
    assert member["kind"] == "Agent"
    assert member["cordoned"] is False
    assert member["sessionEpoch"] == 0
    assert member["heardAgo"] == 3
    assert member["sketches"][0]["gpuClass"]["product"] == "H100"


def test_yaml_says_the_same_as_json(fleet: FakeHub, arbora: Arbora) -> None:
    as_json = json.loads(ok(arbora("members", "describe", "edge-7", "-o", "json")))
    assert yaml.safe_load(ok(arbora("members", "describe", "edge-7", "-o", "yaml"))) == as_json


def test_no_members_is_said_on_stderr_and_is_no_failure(arbora: Arbora) -> None:
    result = arbora("members", "list")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no members\n")


def test_the_tree_draws_paths_and_nodes_that_are_only_passed_through(fleet: FakeHub, arbora: Arbora) -> None:
    assert ok(arbora("members", "tree")).splitlines() == [
        "/",
        "├── ● edge-7     Online  H100  ██████░░░░ 12/32 free",
        "├── ○ edge-8     Lost    H100  ░░░░░░░░░░ 8 not counted",
        "└──   eu",
        "    └── ● paris  Online  A100  ██████████ 0/16 free",
    ]


def test_the_tree_begins_where_it_is_asked_to_and_ends_after_so_many_levels(
    fleet: FakeHub, arbora: Arbora
) -> None:
    below = ["/eu", "└── ● paris  Online  A100  ██████████ 0/16 free"]
    assert ok(arbora("members", "tree", "/eu")).splitlines() == below
    paths = [
        one["path"] for one in json.loads(ok(arbora("members", "tree", "--depth", "1", "-o", "json")))["lines"]
    ]
    assert paths == ["/edge-7", "/edge-8"]


def test_a_tree_of_some_labels_shows_those_members_and_the_way_to_them(fleet: FakeHub, arbora: Arbora) -> None:
    assert ok(arbora("members", "tree", "-l", "gpu=h100")).splitlines() == [
        "/",
        "└── ● edge-7  Online  H100  ██████░░░░ 12/32 free",
    ]


def test_a_member_is_described_with_its_gpus(fleet: FakeHub, arbora: Arbora) -> None:
    text = ok(arbora("members", "describe", "edge-7"))
    assert "Labels: gpu=h100,zone=b" in flat(text)
    assert "Kubernetes: v1.36.0" in flat(text)
    assert ["H100", "32", "20", "12", "0", "0"] in rows(text)


def test_labels_are_set_and_removed_in_one_call(fleet: FakeHub, arbora: Arbora) -> None:
    text = ok(arbora("members", "label", "edge-7", "team=vision", "zone-"))
    assert text == "member /edge-7 labeled: gpu=h100,team=vision\n"


@pytest.mark.parametrize("argument", ["team", "=x", "-", "a=1 a=2", "a=1 a-"])
def test_a_wrong_label_is_refused_before_the_hub_is_asked(fleet: FakeHub, arbora: Arbora, argument: str) -> None:
    result = arbora("members", "label", "edge-7", "--", *argument.split(" "))
    assert result.exit_code == 2
    assert "label" in result.stderr
    assert not fleet.calls


def test_taints_are_set_and_removed(fleet: FakeHub, arbora: Arbora) -> None:
    assert ok(arbora("members", "taint", "edge-7", "team=x:NoSchedule")).endswith("tainted: team=x:NoSchedule\n")
    assert ok(arbora("members", "taint", "edge-7", "team:NoSchedule-")).endswith("tainted: no taints\n")


@pytest.mark.parametrize("argument", ["team=x", "team:Never", ":NoSchedule"])
def test_a_wrong_taint_says_how_it_is_written(fleet: FakeHub, arbora: Arbora, argument: str) -> None:
    result = arbora("members", "taint", "edge-7", argument)
    assert result.exit_code == 2
    assert "NoSchedule" in result.stderr


def test_cordon_and_uncordon(fleet: FakeHub, arbora: Arbora) -> None:
    assert ok(arbora("members", "cordon", "edge-7")) == "member /edge-7 cordoned\n"
    assert rows(ok(arbora("members", "list", "--no-headers")))[0][1] == "Online,Cordoned"
    assert ok(arbora("members", "uncordon", "edge-7")) == "member /edge-7 uncordoned\n"


def test_evicting_without_a_terminal_needs_yes(fleet: FakeHub, arbora: Arbora) -> None:
    refused = arbora("members", "evict", "edge-7")
    assert refused.exit_code == 2
    assert "hint: Add --yes" in refused.stderr
    assert not fleet.evicted
    ok(arbora("members", "evict", "edge-7", "--reason", "sold", "--yes"))
    assert fleet.evicted == [("/edge-7", "sold")]


def test_gpus_are_summed_by_class_and_those_of_lost_members_are_not_free(fleet: FakeHub, arbora: Arbora) -> None:
    table = rows(ok(arbora("gpus")))
    assert table[1][:4] == ["A100", "0", "16", "16"]
    assert table[2][:4] == ["H100", "12", "20", "32"]
    assert table[1][4] == "█" * 20
    lost = {
        item["class"]["product"]: item["lost"] for item in json.loads(ok(arbora("gpus", "-o", "json")))["items"]
    }
    assert lost == {"A100": 0, "H100": 8}


WORKLOAD = """\
apiVersion: arbora.dev/v1
kind: Workload
metadata: {name: train}
spec:
  placement: {members: [edge-7]}
  manifests:
    - {apiVersion: batch/v1, kind: Job, metadata: {name: x}}
"""
CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\ndata: {a: b}\n"


def test_apply_says_what_it_did(fleet: FakeHub, arbora: Arbora, tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(WORKLOAD)
    assert ok(arbora("apply", "-f", str(file), "--dry-run")) == "workload/train created (dry run)\n"
    assert ok(arbora("apply", "-f", str(file))) == "workload/train created\n"
    assert ok(arbora("apply", "-f", str(file))) == "workload/train unchanged\n"
    file.write_text(WORKLOAD.replace("name: x", "name: z"))
    assert ok(arbora("apply", "-f", str(file))) == "workload/train changed\n"


def test_apply_reads_stdin_and_wraps_plain_objects(fleet: FakeHub, arbora: Arbora) -> None:
    text = ok(arbora("apply", "-f", "-", "--name", "web", "--members", "edge-7,edge-8", input=CONFIG_MAP))
    assert text == "workload/web created\n"
    assert [part.path for part in fleet.workloads["web"].assignments] == ["/edge-7", "/edge-8"]


def test_plain_objects_without_a_name_are_told_what_to_add(fleet: FakeHub, arbora: Arbora) -> None:
    result = arbora("apply", "-f", "-", input=CONFIG_MAP)
    assert result.exit_code == 2
    assert "error: --name: ConfigMap cm is in no Workload" in result.stderr
    assert "--name web --members a,b" in result.stderr


def test_a_mistake_in_the_last_file_leaves_nothing_half_done(
    fleet: FakeHub, arbora: Arbora, tmp_path: Path
) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.yaml").write_text(WORKLOAD)
    (tmp_path / "d" / "b.yml").write_text(WORKLOAD.replace("train", "other").replace("placement", "placment"))
    result = arbora("apply", "-f", str(tmp_path / "d"))
    assert result.exit_code == 2
    assert "b.yml:5: spec.placment: unknown field; did you mean placement?" in result.stderr
    assert not fleet.workloads


def test_a_directory_is_read_in_order_and_below_it_only_with_r(
    fleet: FakeHub, arbora: Arbora, tmp_path: Path
) -> None:
    below = tmp_path / "d" / "below"
    below.mkdir(parents=True)
    (tmp_path / "d" / "b.yaml").write_text(WORKLOAD.replace("train", "b"))
    (tmp_path / "d" / "a.json").write_text(json.dumps(yaml.safe_load(WORKLOAD)))
    (tmp_path / "d" / "notes.txt").write_text("not yaml: [")
    (below / "c.yaml").write_text(WORKLOAD.replace("train", "c"))
    assert ok(arbora("apply", "-f", str(tmp_path / "d"))).split() == [
        *("workload/train", "created"),
        *("workload/b", "created"),
    ]
    assert "workload/c created" in ok(arbora("apply", "-R", "-f", str(tmp_path / "d")))


def test_two_files_with_one_name_are_refused_with_both_places(
    fleet: FakeHub, arbora: Arbora, tmp_path: Path
) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(WORKLOAD)
    result = arbora("apply", "-f", str(tmp_path / "a.yaml"), "-f", str(tmp_path / "b.yaml"))
    assert result.exit_code == 2
    assert "b.yaml:1: a second workload train" in result.stderr
    assert "a.yaml:1" in result.stderr


def test_warnings_go_to_stderr(fleet: FakeHub, arbora: Arbora) -> None:
    result = arbora("apply", "-f", "-", "--name", "web", "--members", "nowhere", input=CONFIG_MAP)
    assert result.stderr == "warning: workload/web: /nowhere is no member\n"


def test_apply_waits_until_it_is_available(fleet: FakeHub, arbora: Arbora) -> None:
    ok(arbora("apply", "-f", "-", input=WORKLOAD))
    fleet.report("train", pb.WORKLOAD_STATE_COMPLETE, "1 of 1 done")
    result = arbora("apply", "-f", "-", "--wait", input=WORKLOAD)
    assert ok(result) == "workload/train unchanged\n"
    assert result.stderr == "workload/train /edge-7 Complete 1 of 1 done\n"


def test_apply_that_waits_for_something_degraded_exits_3(fleet: FakeHub, arbora: Arbora) -> None:
    ok(arbora("apply", "-f", "-", input=WORKLOAD))
    fleet.report("train", pb.WORKLOAD_STATE_DEGRADED, "admission denied")
    result = arbora("apply", "-f", "-", "--wait", input=WORKLOAD)
    assert result.exit_code == 3
    assert "error: workload train is Degraded: /edge-7: Job x: admission denied" in result.stderr
    assert "hint: See `arbora workloads describe train`" in result.stderr


def test_apply_that_waits_too_long_exits_8(fleet: FakeHub, arbora: Arbora) -> None:
    result = arbora("apply", "-f", "-", "--wait", "--timeout", "1s", input=WORKLOAD)
    assert result.exit_code == 8


def test_workloads_are_listed_and_described_in_the_members_own_words(fleet: FakeHub, arbora: Arbora) -> None:
    ok(arbora("apply", "-f", "-", input=WORKLOAD))
    fleet.report("train", pb.WORKLOAD_STATE_PROGRESSING, "1 pod waits for a GPU")
    table = rows(ok(arbora("workloads", "list")))
    assert table[1][:3] == ["train", "Progressing", "0/1"]
    text = ok(arbora("workloads", "describe", "train"))
    assert "Placement: edge-7" in flat(text)
    assert "Job x" in text
    assert ["/edge-7", "Job", "x", "Progressing", "1", "pod", "waits", "for", "a", "GPU"] in rows(text)
    manifest = json.loads(ok(arbora("workloads", "describe", "train", "-o", "json")))["spec"]["manifests"][0]
    assert manifest["kind"] == "Job"


def test_deleting_needs_yes_and_can_wait(fleet: FakeHub, arbora: Arbora) -> None:
    ok(arbora("apply", "-f", "-", input=WORKLOAD))
    assert arbora("workloads", "delete", "train").exit_code == 2
    assert fleet.workloads
    assert ok(arbora("workloads", "delete", "train", "--yes", "--wait")) == "workload/train deleted\n"
    assert not fleet.workloads


def test_a_token_is_printed_alone_so_that_scripts_can_take_it(fleet: FakeHub, arbora: Arbora) -> None:
    arguments = ("token", "create", "edge-7", "-n", "team", "--service-account", "runner")
    result = arbora(*arguments)
    assert ok(result) == "a-token-of-the-member\n"
    assert result.stderr == "note: /edge-7 made it shorter: 30m\n"
    data = json.loads(ok(arbora(*arguments, "-o", "json")))
    assert data == {"member": "/edge-7", "lifetimeSeconds": 1800, "token": "a-token-of-the-member"}


GRANTED = ("token", "create", "edge-7", "-n", "team", "--service-account", "runner", "--role", "team/reader")


def test_a_token_with_roles_tells_its_grant_on_stderr(fleet: FakeHub, arbora: Arbora) -> None:
    result = arbora(*GRANTED, "--cluster-role", "view", "--lifetime", "15m")
    assert ok(result) == "a-token-of-the-member\n"
    ((_, id),) = fleet.grants
    assert id.startswith("runner-")
    assert result.stderr == f"note: grant {id}; end it with: arbora token revoke /edge-7 {id}\n"
    ok(arbora(*GRANTED))
    assert len(fleet.grants) == 1, "the same caller and account, the same id"
    ok(arbora(*GRANTED, "--grant", "mine"))
    data = json.loads(ok(arbora(*GRANTED, "--grant", "mine", "-o", "json")))
    assert data["grant"] == "mine"
    assert data["steps"][0]["type"] == "ServiceAccountFoundOrCreated"
    assert len(fleet.grants) == 2


def test_grants_are_listed_and_revoked(fleet: FakeHub, arbora: Arbora) -> None:
    assert arbora("token", "list", "edge-7").stderr == "no grants\n"
    ok(arbora(*GRANTED, "--cluster-role", "view", "--grant", "ci"))
    listed = rows(ok(arbora("token", "list", "/edge-7", "-o", "wide")))
    assert listed[0] == ["ID", "ACCOUNT", "ROLES", "REQUESTER", "MADE"]
    assert listed[1][:4] == ["ci", "team/runner", "team/reader,view", "access/test"]
    (item,) = json.loads(ok(arbora("token", "list", "edge-7", "-o", "json")))["items"]
    assert item["roles"] == [{"namespace": "team", "name": "reader", "rules": []}]
    assert ok(arbora("token", "revoke", "edge-7", "ci")) == "grant ci revoked\n"
    assert not fleet.grants
    ok(arbora("token", "revoke", "edge-7", "ci"))


def test_a_role_without_its_namespace_says_how_to_write_it(fleet: FakeHub, arbora: Arbora) -> None:
    result = arbora(*GRANTED, "--role", "reader")
    assert result.exit_code == 2
    assert "--role: 'reader' is not namespace/role" in result.stderr
    assert "--cluster-role" in result.stderr
    result = arbora(*GRANTED, "--cluster-role", "team/reader")
    assert "--cluster-role: 'team/reader' is not the name of a cluster role" in result.stderr


def test_a_token_beyond_the_allow_list_exits_6(fleet: FakeHub, arbora: Arbora) -> None:
    assert arbora("token", "create", "edge-7", "--service-account", "other").exit_code == 6


def test_events_end_with_the_newest_and_are_limited(hub: FakeHub, arbora: Arbora) -> None:
    for reason in ("One", "Two", "Three"):
        hub.add_event(reason, "member/a", "a sentence")
    table = ok(arbora("events", "--limit", "2", "--no-headers")).splitlines()
    assert [line.split()[2] for line in table] == ["Two", "Three"]
    assert [e["reason"] for e in json.loads(ok(arbora("events", "-o", "json")))["items"]] == [
        "One",
        "Two",
        "Three",
    ]


def test_the_audit_log_shows_who_did_what(hub: FakeHub, arbora: Arbora) -> None:
    entry = event_pb2.AuditEntry(actor="access/ana", action="EvictMember", subject="member/a", outcome="OK")
    entry.time.GetCurrentTime()
    hub.audit.append(entry)
    assert rows(ok(arbora("audit", "--no-headers")))[0][1:] == ["access/ana", "EvictMember", "member/a", "OK"]


def test_access_is_written_to_a_file_only_the_owner_can_read(
    hub: FakeHub, arbora: Arbora, tmp_path: Path
) -> None:
    file = tmp_path / "ana.yaml"
    result = arbora("access", "create", "ana", "--role", "operator", "--lifetime", "1d", "--out", str(file))
    assert "arbk." not in result.output
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    context = read_contexts(file).contexts["ana"]
    assert (context.hub, context.token.reveal()) == (hub.address, "arbk.ana.new")
    assert arbora("access", "create", "bob", "--out", str(file)).exit_code == 5
    assert rows(ok(arbora("access", "list")))[1][:2] == ["ana", "Operator"]


def test_access_without_a_file_is_a_context_on_stdout(hub: FakeHub, arbora: Arbora, tmp_path: Path) -> None:
    file = tmp_path / "ci.yaml"
    file.write_text(ok(arbora("access", "create", "ci")))
    assert read_contexts(file).current == "ci"


def test_a_context_file_is_taken_over_and_used(hub: FakeHub, arbora: Arbora, tmp_path: Path) -> None:
    file = tmp_path / "ana.yaml"
    ok(arbora("access", "create", "ana", "--out", str(file)))
    ok(arbora("access", "use", str(file)))
    assert ok(arbora("access", "use")) == f"  test  {hub.address}\n* ana  {hub.address}\n"
    assert arbora("access", "whoami").exit_code == 6, "the fake hub knows only the first token"
    ok(arbora("access", "use", "test"))
    assert "Role: Admin" in flat(ok(arbora("access", "whoami")))
    assert arbora("access", "use", "nowhere").exit_code == 4


def test_access_is_revoked(hub: FakeHub, arbora: Arbora) -> None:
    ok(arbora("access", "create", "ana"))
    assert ok(arbora("access", "revoke", "ana")) == "access ana revoked\n"
    assert arbora("access", "revoke", "ana").exit_code == 4


def test_a_join_token_is_printed_alone_with_the_next_step_on_stderr(hub: FakeHub, arbora: Arbora) -> None:
    result = arbora("join-token", "create", "--name", "edge-9", "--label", "gpu=h100", "--uses", "2")
    assert ok(result) == "arb1.id0.secret.pin\n"
    assert "arbora agent run --hub hub.example.org:7444" in result.stderr
    assert rows(ok(arbora("join-token", "list")))[1][:4] == ["id0", "edge-9", "Agent", "2"]
    ok(arbora("join-token", "revoke", "id0"))
    assert not hub.join_tokens


def test_the_hub_is_shown_and_its_ca_rotated(hub: FakeHub, arbora: Arbora) -> None:
    hub.authority[0].not_after.FromDatetime(datetime.now(UTC) + timedelta(days=3))
    text = ok(arbora("hub", "info"))
    assert "Up: for 2m3s" in flat(text)
    assert "2d23h" in text
    assert "prepared" in ok(arbora("hub", "rotate-ca", "prepare"))
    assert arbora("hub", "rotate-ca", "retire").exit_code == 5
    assert arbora("hub", "rotate-ca", "jump").exit_code == 2


def test_a_hub_is_put_below_another_and_says_where_it_stands(hub: FakeHub, arbora: Arbora) -> None:
    moved = ok(arbora("hub", "move", "--parent", "root.example.org:7444", "--join-token", "arb1.x"))
    assert "Path: /eu" in flat(moved)
    info = flat(ok(arbora("hub", "info")))
    assert "Parent: root.example.org:7444" in info
    assert "Uplink: online: online as /eu" in info
    assert "Path: /" in flat(ok(arbora("hub", "move", "--detach")))
    assert "Parent" not in ok(arbora("hub", "info"))


def test_a_move_says_where_to(hub: FakeHub, arbora: Arbora) -> None:
    assert arbora("hub", "move").exit_code == 2
    assert arbora("hub", "move", "--parent", "a:1", "--detach").exit_code == 2
