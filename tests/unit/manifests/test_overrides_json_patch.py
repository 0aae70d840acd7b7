"""JSON patches as RFC 6902 says, without touching what comes in and without growing beyond bounds."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora.errors import InvalidInput
from arbora.manifests.image import Image
from arbora.manifests.json_patch import MAX_DEPTH, apply_patch, check_operations, equal, split_pointer

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=3), below, max_size=3),
    max_leaves=12,
)


def op(name: str, path: str, **more: Any) -> dict[str, Any]:
    return {"op": name, "path": path, **({"from": more.pop("source")} if "source" in more else {}), **more}


@pytest.mark.parametrize(
    ("document", "operation", "expected"),
    [
        # RFC 6902, appendix A
        ({"foo": "bar"}, op("add", "/baz", value="qux"), {"baz": "qux", "foo": "bar"}),
        ({"foo": ["bar", "baz"]}, op("add", "/foo/1", value="qux"), {"foo": ["bar", "qux", "baz"]}),
        ({"baz": "qux", "foo": "bar"}, op("remove", "/baz"), {"foo": "bar"}),
        ({"foo": ["bar", "qux", "baz"]}, op("remove", "/foo/1"), {"foo": ["bar", "baz"]}),
        ({"baz": "qux", "foo": "bar"}, op("replace", "/baz", value="boo"), {"baz": "boo", "foo": "bar"}),
        (
            {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
            op("move", "/qux/thud", source="/foo/waldo"),
            {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
        ),
        ({"foo": ["a", "b", "c"]}, op("move", "/foo/2", source="/foo/0"), {"foo": ["b", "c", "a"]}),
        ({"foo": "bar"}, op("add", "/child", value={"g": {}}), {"foo": "bar", "child": {"g": {}}}),
        ({"foo": ["bar"]}, op("add", "/foo/-", value=["x"]), {"foo": ["bar", ["x"]]}),
        ({"/": 9, "~1": 10}, op("test", "/~01", value=10), {"/": 9, "~1": 10}),
        ({"/": 9}, op("replace", "/~1", value=1), {"/": 1}),
        ({"": 1}, op("replace", "/", value=2), {"": 2}),
        ({"a": 1}, op("copy", "/b", source="/a"), {"a": 1, "b": 1}),
        ({"a": 1}, op("replace", "", value=[]), []),
        ({"a": None}, op("test", "/a", value=None), {"a": None}),
        ({"a": 1}, op("move", "/a", source="/a"), {"a": 1}),
    ],
)
def test_an_operation(document: Any, operation: dict[str, Any], expected: Any) -> None:
    before = copy.deepcopy(document)
    assert apply_patch(document, [operation]) == expected
    assert document == before


@pytest.mark.parametrize(
    ("document", "operation", "field"),
    [
        ({"foo": "bar"}, op("add", "/baz/bat", value=1), "[0].path"),
        ({"foo": ["a"]}, op("add", "/foo/2", value=1), "[0].path"),
        ({"foo": ["a"]}, op("add", "/foo/01", value=1), "[0].path"),
        ({"foo": ["a"]}, op("remove", "/foo/-"), "[0].path"),
        ({"foo": ["a"]}, op("replace", "/foo/9999999999", value=1), "[0].path"),
        ({"foo": 1}, op("replace", "/bar", value=1), "[0].path"),
        ({"foo": 1}, op("test", "/foo", value=True), "[0].path"),
        ({"foo": {"bar": {}}}, op("move", "/foo/bar/x", source="/foo"), "[0].from"),
        ({}, op("add", "foo", value=1), "[0].path"),
        ({}, op("add", "/a~2", value=1), "[0].path"),
        ({}, op("copy", "/a"), "[0].from"),
        ({}, {"op": "add", "value": 1}, "[0].path"),
        ({}, {"op": "add", "path": "/a"}, "[0].value"),
        ({}, {"op": [], "path": "/a"}, "[0].op"),
        ({}, "remove", "[0]"),
    ],
)
def test_what_does_not_fit_is_refused(document: Any, operation: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        apply_patch(document, [operation])
    assert caught.value.field == field


def test_a_failing_operation_undoes_the_whole_patch() -> None:
    document = {"a": 1}
    with pytest.raises(InvalidInput) as caught:
        apply_patch(document, [op("remove", "/a"), op("remove", "/a")])
    assert caught.value.field == "[1].path" and document == {"a": 1}


def test_copies_of_copies_are_stopped() -> None:
    doubling = [op("copy", f"/{n}", source="") for n in range(40)]
    with pytest.raises(InvalidInput, match=r"too large|nested deeper"):
        apply_patch({"a": "x" * 100}, doubling)


def test_a_document_that_is_too_deep_is_refused() -> None:
    deep: Any = []
    for _ in range(MAX_DEPTH + 5):
        deep = [deep]
    with pytest.raises(InvalidInput, match="nested deeper"):
        apply_patch(deep, [])


@given(document=JSON)
def test_no_operation_makes_an_equal_document_of_its_own(document: Any) -> None:
    copied = apply_patch(document, [])
    assert equal(copied, document)
    assert not isinstance(document, dict | list) or copied is not document


@given(document=JSON, value=JSON)
def test_what_was_added_is_there_and_its_removal_restores(document: Any, value: Any) -> None:
    wrapped = {"x": document}
    added = apply_patch(wrapped, [op("add", "/y", value=value), op("test", "/y", value=value)])
    assert equal(apply_patch(added, [op("remove", "/y")]), wrapped)


@given(key=st.text(max_size=8))
def test_every_key_can_be_pointed_to(key: str) -> None:
    pointer = "/" + key.replace("~", "~0").replace("/", "~1")
    assert split_pointer(pointer) == (key,)
    assert apply_patch({key: 1}, [op("replace", pointer, value=2)]) == {key: 2}


@given(operations=st.lists(JSON | st.dictionaries(st.sampled_from(["op", "path", "from", "value"]), JSON)))
def test_rubbish_is_refused_and_never_crashes(operations: list[Any]) -> None:
    try:
        check_operations(operations)
        apply_patch({"a": [1]}, operations)
    except InvalidInput as error:
        assert error.field.startswith("[")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("busybox", ("busybox", "", "", "")),
        ("team/app:1", ("team/app", "", "1", "")),
        ("localhost/app", ("app", "localhost", "", "")),
        ("reg:5000/app", ("app", "reg:5000", "", "")),
        ("reg.io/a/b:1@sha256:" + "0" * 64, ("a/b", "reg.io", "1", "sha256:" + "0" * 64)),
    ],
)
def test_an_image_is_taken_apart_and_put_together(text: str, parts: tuple[str, str, str, str]) -> None:
    image = Image.parse(text)
    assert (image.repository, image.registry, image.tag, image.digest) == parts
    assert str(image) == text


@pytest.mark.parametrize("text", ["", "UPPER", "a b", "reg.io/", "app:", "a@sha256:zz", "$(IMAGE)"])
def test_what_is_no_image_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not the name of an image"):
        Image.parse(text)
