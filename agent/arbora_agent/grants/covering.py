"""Whether some rules allow nothing that other rules don't. Pure.

As Kubernetes decides it when somebody makes a role (`k8s.io/component-helpers/auth/rbac/validation`, Covers): a
rule is taken apart into single rights, and each of them must lie in one rule of the others. What this says yes to
is safe; a no may be too strict, for example where a wildcard is asked for and every single right is held.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from arbora_agent.grants.model import Rule

MAX_RIGHTS = 1000
"""Single rights that the rules of one grant may come to; comparing more would hold up the loop."""
MAX_FOUND_RIGHTS = 5000
"""Of a role that exists; one with more is not compared, but counts as another."""


def covers(ceiling: Sequence[Rule], rules: Sequence[Rule]) -> bool:
    """Whether `ceiling` allows everything that `rules` allow."""
    return first_beyond(ceiling, rules) is None


def first_beyond(ceiling: Sequence[Rule], rules: Sequence[Rule]) -> Rule | None:
    """The first single right of `rules` that `ceiling` does not hold; None: there is none."""
    for rule in rules:
        if any(_covers(held, rule) for held in ceiling):
            continue
        for right in rights(rule):
            if not any(_covers(held, right) for held in ceiling):
                return right
    return None


def same(asked: Sequence[Rule], found: Sequence[Rule]) -> bool:
    """Whether both allow the same, however they are written."""
    if sum(map(size, found)) > MAX_FOUND_RIGHTS:
        return False
    return covers(found, asked) and covers(asked, found)


def size(rule: Rule) -> int:
    """How many single rights it comes to."""
    objects = len(rule.api_groups) * len(rule.resources) * max(1, len(rule.resource_names))
    return len(rule.verbs) * (objects + len(rule.non_resource_urls))


def rights(rule: Rule) -> Iterator[Rule]:
    """The rule as rules of one verb on one resource of one group, one name if it has names; or on one path."""
    for group, resource, verb in product(rule.api_groups, rule.resources, rule.verbs):
        for name in rule.resource_names or (None,):
            names = () if name is None else (name,)
            yield Rule((group,), (resource,), (verb,), names)
    for url, verb in product(rule.non_resource_urls, rule.verbs):
        yield Rule(verbs=(verb,), non_resource_urls=(url,))


def words(right: Rule) -> str:
    """A single right for people: `update jobs.batch named train`."""
    if right.non_resource_urls:
        return f"{right.verbs[0]} {right.non_resource_urls[0]}"
    group = f".{right.api_groups[0]}" if right.api_groups[0] else ""
    named = f" named {right.resource_names[0]}" if right.resource_names else ""
    return f"{right.verbs[0]} {right.resources[0]}{group}{named}"


def wrong(rule: Rule, *, namespaced: bool) -> str:
    """Why the API server would not take the rule, in words; empty if it would."""
    if not rule.verbs:
        return "has no verbs"
    if rule.non_resource_urls:
        if namespaced:
            return "names paths, which only a cluster role can"
        mixed = rule.api_groups or rule.resources or rule.resource_names
        return "names both paths and resources" if mixed else ""
    if not rule.api_groups or not rule.resources:
        return "names no API group or no resource"
    return ""


def _covers(held: Rule, asked: Rule) -> bool:
    """Whether the one rule `held` allows all of `asked`."""
    return (
        _has_all(held.verbs, asked.verbs)
        and _has_all(held.api_groups, asked.api_groups)
        and all(_covers_resource(held.resources, each) for each in asked.resources)
        and _covers_names(held.resource_names, asked.resource_names)
        and all(_covers_url(held.non_resource_urls, each) for each in asked.non_resource_urls)
    )


def _has_all(held: Sequence[str], asked: Sequence[str]) -> bool:
    return "*" in held or all(each in held for each in asked)


def _covers_resource(held: Sequence[str], asked: str) -> bool:
    if "*" in held or asked in held:
        return True
    _, separator, subresource = asked.partition("/")
    return bool(separator) and f"*/{subresource}" in held


def _covers_names(held: Sequence[str], asked: Sequence[str]) -> bool:
    # No names are all names, which some names never cover.
    return not held or (bool(asked) and all(each in held for each in asked))


def _covers_url(held: Sequence[str], asked: str) -> bool:
    return any(each == asked or (each.endswith("*") and asked.startswith(each.rstrip("*"))) for each in held)
