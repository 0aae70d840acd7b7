"""Shapes hold whatever a manifest says: dividing is exact, and damage is refused with a path."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbora.capacity.shape import shape_of, with_replicas
from arbora.errors import InvalidInput
from arbora.manifests.strict_yaml import read_yaml

DATA = Path(__file__).parents[2] / "data" / "manifests"
MANIFESTS: dict[str, dict[str, Any]] = {
    path.stem: read_yaml(path.read_text(), path.stem)[0].value for path in sorted(DATA.glob("*.yaml"))
}
DIVISIBLE = [name for name, each in MANIFESTS.items() if (shape := shape_of(each)) and shape.divisible]

RUBBISH = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2**40),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.none() | st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=3), max_size=2),
)


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += places(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += places(item, (*path, index))
    return found


@given(name=st.sampled_from(DIVISIBLE), n=st.integers(0, 10_000))
def test_a_share_of_n_has_n_units(name: str, n: int) -> None:
    manifest = MANIFESTS[name]
    before = copy.deepcopy(manifest)
    shape = shape_of(manifest)
    assert shape is not None
    divided = shape_of(with_replicas(manifest, shape, n))
    assert manifest == before
    assert divided is not None and divided.units == n and divided.divisible
    assert [group.replicas for group in divided.groups] == [n * group.per_unit for group in shape.groups]


@given(parallelism=st.integers(1, 50), rounds=st.integers(1, 9), cut=st.integers(0, 50))
def test_shares_of_a_job_complete_as_often_as_the_whole(parallelism: int, rounds: int, cut: int) -> None:
    job = copy.deepcopy(MANIFESTS["job"])
    job["spec"].update(parallelism=parallelism, completions=parallelism * rounds)
    shape = shape_of(job)
    assert shape is not None
    first = min(cut, parallelism)
    shares = [with_replicas(job, shape, n)["spec"] for n in (first, parallelism - first)]
    assert sum(share["completions"] for share in shares) == parallelism * rounds
    assert sum(share["parallelism"] for share in shares) == parallelism


@pytest.mark.parametrize("name", sorted(MANIFESTS))
def test_damage_is_refused_with_a_path_or_read(name: str) -> None:
    where = places(MANIFESTS[name])

    @settings(max_examples=60, deadline=None)
    @given(place=st.sampled_from(where), rubbish=RUBBISH, drop=st.booleans())
    def damaged(place: tuple[str | int, ...], rubbish: Any, drop: bool) -> None:
        manifest = copy.deepcopy(MANIFESTS[name])
        parent: Any = manifest
        for step in place[:-1]:
            parent = parent[step]
        if drop:
            del parent[place[-1]]
        else:
            parent[place[-1]] = rubbish
        try:
            shape = shape_of(manifest)
        except InvalidInput as error:
            assert error.field
        else:
            if shape is not None:
                assert all(group.replicas == shape.units * group.per_unit for group in shape.groups)
                assert 0 <= shape.min_available <= shape.pods
                json.dumps([shape.object, *shape.reasons])

    damaged()
