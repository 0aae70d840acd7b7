"""Names of profiles: valid, one for each member, and never another one later."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from arbora_hub.kubernetes.profiles.names import Names, candidates, plain_name

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
label = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
path = st.lists(label, min_size=1, max_size=16).map(lambda labels: "/" + "/".join(labels))
clashing = st.sampled_from(["/a-b-c", "/a/b-c", "/a-b/c", "/a/b/c", "/x"])


def nobody(name: str) -> bool:
    return False


@given(path)
def test_every_name_is_valid(path: str) -> None:
    for name in candidates(path):
        assert len(name) <= 253
        assert SUBDOMAIN.fullmatch(name)


def test_a_name_is_the_path_with_dashes_and_has_a_hash_on_a_clash() -> None:
    names = Names()
    assert names.assign("team", "/eu/edge-7", nobody) == "eu-edge-7"
    other = names.assign("team", "/eu-edge/7", nobody)
    assert other is not None
    assert re.fullmatch(r"eu-edge-7-[0-9a-f]{8}", other)
    assert names.path_of("team", other) == "/eu-edge/7"
    assert names.assign("elsewhere", "/eu-edge/7", nobody) == "eu-edge-7"


def test_a_name_that_is_somebody_elses_is_left_to_them_also_later() -> None:
    names = Names()
    assert names.assign("team", "/a", nobody) == "a"
    second = names.assign("team", "/a", lambda name: name == "a")
    assert second is not None
    assert second.startswith("a-")
    assert names.path_of("team", "a") is None
    assert names.assign("team", "/a", nobody) == second


def test_a_name_of_a_member_that_is_not_heard_of_yet_is_kept_for_it() -> None:
    names = Names()
    later = names.assign("team", "/a-b/c", nobody, lambda name: name == "a-b-c")
    assert later != "a-b-c"
    assert names.assign("team", "/a/b-c", nobody) == "a-b-c"


def test_a_clash_is_decided_once_and_for_a_later_process_too() -> None:
    names = Names()
    first, second = (names.assign("team", path, nobody) for path in ("/a/b-c", "/a-b/c"))
    later = Names(names.kept)
    assert later.assign("team", "/a-b/c", nobody) == second
    assert later.assign("team", "/a/b-c", nobody) == first
    later.release("team", "/a/b-c")
    assert Names(later.kept).assign("team", "/a-b/c", nobody) == second
    assert Names(later.kept).assign("team", "/a/b/c", nobody) == first


def test_without_a_clash_nothing_has_to_be_kept() -> None:
    names = Names()
    names.assign("team", "/a/b", nobody)
    assert names.kept == {}


def test_a_name_that_was_kept_for_one_that_is_gone_can_be_forgotten() -> None:
    names = Names({"team/a-b": "/a/b"})
    assert names.assign("team", "/a-b", nobody) != "a-b"
    names.forget("team", "a-b")
    assert Names(names.kept).assign("team", "/x", nobody) == "x"
    assert "team/a-b" not in names.kept


def test_if_every_name_is_somebody_elses_there_is_none() -> None:
    names = Names()
    assert names.assign("team", "/a", lambda name: True) is None
    assert list(names) == []


@settings(max_examples=200)
@given(st.lists(st.tuples(clashing, st.sampled_from(["assign", "release", "restart", "foreign"])), max_size=20))
def test_no_name_stands_for_two_members_and_none_changes_by_itself(steps: list[tuple[str, str]]) -> None:
    names = Names()
    others: set[str] = set()
    for path, step in steps:
        if step == "assign":
            before = names.name_of("team", path)
            name = names.assign("team", path, others.__contains__)
            assert name is not None
            assert name not in others
            assert before in (None, name) or before in others
        elif step == "release":
            names.release("team", path)
        elif step == "foreign":
            others.add(plain_name(path))
        else:
            given = {path: name for _, name in names if (path := names.path_of("team", name))}
            contested = {name: path for path, name in given.items()} if names.kept else {}
            names = Names(names.kept)
            for where, path_kept in names.kept.items():
                assert contested.get(where.partition("/")[2], path_kept) == path_kept
        standing = [names.path_of("team", name) for _, name in names]
        assert len(standing) == len(set(standing))
        assert all(names.name_of("team", str(one)) is not None for one in standing)
