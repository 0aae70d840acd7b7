"""Patterns of member paths."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from arbora.errors import InvalidInput
from arbora_hub.kubernetes.fleets.patterns import PathPattern

CRD = Path(__file__).resolve().parents[3] / "deploy" / "kubernetes" / "crds" / "fleets.arbora.dev.yaml"


@pytest.mark.parametrize(
    ("pattern", "path", "meant"),
    [
        ("/eu/paris/edge-7", "/eu/paris/edge-7", True),
        ("/eu/paris/edge-7", "/eu/paris/edge-70", False),
        ("/eu/paris", "/eu/paris/edge-7", False),
        ("/eu/*", "/eu/a", True),
        ("/eu/*", "/eu/paris/a", False),
        ("/eu/*", "/us/a", False),
        ("/eu/*/gpu", "/eu/paris/gpu", True),
        ("/eu/**", "/eu/a", True),
        ("/eu/**", "/eu/paris/lyon/a", True),
        ("/eu/**", "/eu", False),
        ("/eu/**", "/europe/a", False),
        ("/**", "/a", True),
        ("/*", "/a", True),
        ("/*/**", "/a", False),
        ("/*/**", "/a/b", True),
    ],
)
def test_what_a_pattern_means(pattern: str, path: str, meant: bool) -> None:
    assert PathPattern.parse(pattern).matches(path) is meant


@pytest.mark.parametrize(
    "text", ["", "/", "eu/*", "/eu/", "//a", "/**/a", "/e*", "/EU", "/a/***", "/" + "/".join("a" * 17)]
)
def test_what_is_no_pattern_is_refused_with_its_field(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        PathPattern.parse(text, "spec.paths[3]")
    assert caught.value.field == "spec.paths[3]"


segments = st.sampled_from(["a", "eu", "b-1", "*", "**", "", "A", "-x", "a" * 64])


@settings(deadline=None)  # of a loaded machine it says nothing
@given(st.lists(segments, max_size=4).map(lambda parts: "/" + "/".join(parts)))
def test_the_schema_and_the_program_agree_on_what_a_pattern_is(text: str) -> None:
    schema = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    items = schema["properties"]["spec"]["properties"]["paths"]["items"]
    taken = bool(re.search(items["pattern"], text)) and len(text) >= items["minLength"]
    try:
        assert str(PathPattern.parse(text)) == text
        read = True
    except InvalidInput:
        read = False
    assert taken is read
