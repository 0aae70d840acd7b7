"""Covering of rules: what it lets pass never allows what the ceiling does not, whatever anybody asks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora_agent.grants.covering import covers, first_beyond, same, size, words, wrong
from arbora_agent.grants.model import Rule

GROUPS = ("", "batch", "apps")
RESOURCES = ("pods", "jobs")
SUBRESOURCES = ("", "log", "status")
VERBS = ("get", "create", "escalate")
NAMES = ("", "a", "b")
URLS = ("/", "/healthz", "/metrics", "/metrics/cadvisor")


def allows(rules: Sequence[Rule], verb: str, group: str, resource: str, subresource: str, name: str) -> bool:
    """As Kubernetes' RBAC authorizer judges one request (pkg/apis/rbac/v1/evaluation_helpers.go)."""
    combined = f"{resource}/{subresource}" if subresource else resource
    for rule in rules:
        if not (set(rule.verbs) & {"*", verb} and set(rule.api_groups) & {"*", group}):
            continue
        if not set(rule.resources) & {"*", combined, *([f"*/{subresource}"] if subresource else [])}:
            continue
        if not rule.resource_names or name in rule.resource_names:
            return True
    return False


def allows_url(rules: Sequence[Rule], verb: str, url: str) -> bool:
    for rule in rules:
        for path in rule.non_resource_urls:
            prefix = path.endswith("*") and url.startswith(path.rstrip("*"))
            if set(rule.verbs) & {"*", verb} and (path in ("*", url) or prefix):
                return True
    return False


def everything(rules: Sequence[Rule]) -> set[tuple[str, ...]]:
    """Every request of a small world that the rules allow."""
    requests = product(VERBS, GROUPS, RESOURCES, SUBRESOURCES, NAMES)
    asked: set[tuple[str, ...]] = {each for each in requests if allows(rules, *each)}
    return asked | {each for each in product(VERBS, URLS) if allows_url(rules, *each)}


def some(*values: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True).map(tuple)


FULL_RESOURCES = tuple(f"{r}/{s}" if s else r for r, s in product(RESOURCES, SUBRESOURCES))
PLAIN = st.builds(
    Rule,
    some(*GROUPS),
    some(*FULL_RESOURCES),
    some(*VERBS),
    st.one_of(st.just(()), some(*NAMES)),
)
WILD = st.builds(
    Rule,
    some(*GROUPS, "*"),
    some(*FULL_RESOURCES, "*", "*/log", "*/status", "*/*"),
    some(*VERBS, "*"),
    st.one_of(st.just(()), some(*NAMES)),
)
PATHS = st.builds(Rule, verbs=some(*VERBS, "*"), non_resource_urls=some(*URLS, "*", "/metrics*", "/m*", "/h**"))
RULES = st.lists(st.one_of(WILD, PATHS, PLAIN), max_size=4)


@given(RULES, RULES)
def test_covered_rules_allow_nothing_that_the_ceiling_does_not(ceiling: list[Rule], rules: list[Rule]) -> None:
    if covers(ceiling, rules):
        assert everything(rules) <= everything(ceiling)


@given(st.lists(PLAIN, max_size=4), st.lists(PLAIN, max_size=4))
def test_without_wildcards_what_is_not_covered_is_really_beyond(ceiling: list[Rule], rules: list[Rule]) -> None:
    # a rule without names is beyond one with all names that this small world has
    if not covers(ceiling, rules) and all(rule.resource_names for rule in rules):
        assert not everything(rules) <= everything(ceiling)


@given(RULES, RULES)
def test_rules_are_covered_by_themselves_and_by_more(rules: list[Rule], more: list[Rule]) -> None:
    assert covers(rules, rules)
    assert covers([*more, *rules], rules)
    assert same(rules, [*reversed(rules), *rules])


@given(RULES, RULES)
def test_rules_that_are_the_same_allow_the_same(one: list[Rule], other: list[Rule]) -> None:
    if same(one, other):
        assert everything(one) == everything(other)


EDIT = (Rule(("", "batch"), ("pods", "jobs"), ("get", "create")), Rule(("",), ("*/log",), ("get",)))

BEYOND = {
    "another verb": (Rule(("",), ("pods",), ("get", "delete")), "delete pods"),
    "another group": (Rule(("apps",), ("jobs",), ("get",)), "get jobs.apps"),
    "a resource": (Rule(("",), ("secrets",), ("get",)), "get secrets"),
    "a subresource": (Rule(("",), ("pods/exec",), ("create",)), "create pods/exec"),
    "every resource": (Rule(("",), ("*",), ("get",)), "get *"),
    "every verb": (Rule(("",), ("pods",), ("*",)), "* pods"),
    "every group": (Rule(("*",), ("pods",), ("get",)), "get pods.*"),
    "a path": (Rule(verbs=("get",), non_resource_urls=("/metrics",)), "get /metrics"),
    "one name of what is not held": (Rule(("",), ("secrets",), ("get",), ("a",)), "get secrets named a"),
}


@pytest.mark.parametrize("beyond", BEYOND)
def test_what_goes_beyond_is_named(beyond: str) -> None:
    rule, said = BEYOND[beyond]
    found = first_beyond(EDIT, (EDIT[0], rule))
    assert found is not None
    assert words(found) == said


def test_rights_on_some_names_never_cover_those_on_all() -> None:
    named = Rule(("",), ("secrets",), ("get",), ("a", "b"))
    assert covers([named], [Rule(("",), ("secrets",), ("get",), ("b",))])
    assert not covers([named], [Rule(("",), ("secrets",), ("get",))])


def test_a_rule_may_be_covered_by_several_together() -> None:
    asked = Rule(("", "batch"), ("pods", "jobs"), ("get",))
    assert covers([Rule(("*",), ("pods",), ("*",)), Rule(("", "batch"), ("jobs",), ("get", "list"))], [asked])


def test_the_same_rights_written_otherwise_are_the_same() -> None:
    split = [Rule(("batch",), ("jobs",), (verb,)) for verb in ("list", "get", "get")]
    assert same([Rule(("batch",), ("jobs",), ("get", "list"))], split)
    assert not same([Rule(("batch",), ("jobs",), ("get", "list", "delete"))], split)


def test_a_role_too_large_to_compare_is_another() -> None:
    large = Rule(("",), tuple(f"r{n}" for n in range(200)), tuple(f"v{n}" for n in range(200)))
    assert size(large) == 40_000
    assert not same([Rule(("",), ("r1",), ("v1",))], [large])


WRONG = {
    "no verbs": (Rule(("",), ("pods",)), False),
    "no group": (Rule((), ("pods",), ("get",)), False),
    "no resource": (Rule(("",), (), ("get",)), False),
    "both": (Rule(("",), ("pods",), ("get",), (), ("/metrics",)), False),
    "a path in a namespace": (Rule(verbs=("get",), non_resource_urls=("/metrics",)), True),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_rule_that_no_api_server_takes_is_known(what: str) -> None:
    rule, namespaced = WRONG[what]
    assert wrong(rule, namespaced=namespaced)
    assert not wrong(EDIT[0], namespaced=namespaced)
