"""The YAML reader by itself: Kubernetes' meaning of words, and its bounds."""

from __future__ import annotations

import pytest

from arbora.errors import InvalidInput
from arbora.manifests.scalars import needs_quotes, resolve
from arbora.manifests.selectors import Requirement, Selector, parse_selector
from arbora.manifests.strict_yaml import MAX_BYTES, InvalidDocument, dump_yaml, read_yaml, show_path


def value(text: str) -> object:
    (document,) = read_yaml(text, "w")
    return document.value


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        *((word, True) for word in ("y", "Yes", "ON", "true")),
        *((word, False) for word in ("n", "no", "Off", "FALSE")),
        *((word, None) for word in ("", "~", "null")),
        *(
            ("12", 12),
            ("-3", -3),
            ("+3", 3),
            ("1_000", 1000),
            ("0x1F", 31),
            ("0b101", 5),
            ("0o17", 15),
            ("017", 15),
        ),
        *(("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("1e3", 1000.0), ("08", 8.0), ("-1E-2", -0.01)),
        *(
            (word, word)
            for word in ("22:22", "1:30:00", "2001-01-01", "1.2.3", "0x", "e3", "+", "-", ".", "=", "<<")
        ),
        *((word, word) for word in ("tRUE", "NULL_", "1e", "v1", "1Gi", "100m", "_1")),
    ],
)
def test_a_plain_word_means_what_it_means_to_kubernetes(word: str, meaning: object) -> None:
    found = resolve(word)
    assert (found, type(found)) == (meaning, type(meaning))


@pytest.mark.parametrize(
    "word", [".inf", "-.INF", ".nan", "1e999", "18446744073709551616", "-9223372036854775809", "1" * 5000]
)
def test_a_number_that_json_or_go_has_no_place_for_is_refused(word: str) -> None:
    assert needs_quotes(word)
    with pytest.raises(InvalidDocument, match="w:2: a: "):
        read_yaml(f"\na: {word}", "w")


def test_quotes_make_a_text_of_everything() -> None:
    assert value("['no', \"1\", !!str 2, ! 3, |-\n  4\n]".replace("|-\n  4\n", "'4'")) == [
        "no",
        "1",
        "2",
        "3",
        "4",
    ]
    assert value("!!float 1") == 1.0


def test_merges_and_aliases_are_written_out_and_an_own_key_wins() -> None:
    text = "base: &b {x: 1, y1: 2}\nother: &o {x: 5, z: 6}\nit: {<<: [*b, *o], x: 9}\nsame: *b\n"
    assert value(text) == {
        "base": {"x": 1, "y1": 2},
        "other": {"x": 5, "z": 6},
        "it": {"x": 9, "y1": 2, "z": 6},
        "same": {"x": 1, "y1": 2},
    }


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: 1\nb: 2\na: 3", "w:3: a: is given twice, first on line 1"),
        ("a: {b: 1, 'b': 2}", "w:1: a.b: is given twice"),
        ("? [a]\n: b", "w:1: a key is not a plain text"),
        ("a: {1: b}", "w:1: a: the key 1 is a number, quote it"),
        ("a: *nope", "w:1: "),
        ("a: &a [*a]", "w:1: a[0]: the alias *a is used before its anchor is complete"),
        ("a: {<<: 3}", "w:1: a[<<]: merges something that is not a map"),
        ("a: !!binary aGk=", "w:1: a: the tag"),
        ("a: !thing {}", "w:1: a: the tag !thing is not allowed"),
        ("a: !!int no", "w:1: a: the tag"),
        ("a: b: c", "w:1: is not YAML"),
        ("a: 'x", "w:1: is not YAML"),
        ("a: \x00", "w:1: is not YAML"),
        ("%YAML 9.0\n---\na: 1", "w:1: is not YAML"),
    ],
)
def test_what_is_not_strict_yaml_is_refused_with_its_line(text: str, error: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        read_yaml(text, "w")
    assert str(caught.value).startswith(error)


def test_depth_is_bounded() -> None:
    assert value("[" * 64 + "]" * 64) is not None
    for text in ("[" * 65 + "]" * 65, "[" * 100_000, "{a: " * 5000):
        with pytest.raises(InvalidDocument):
            read_yaml(text, "w")


def test_depth_through_aliases_is_bounded() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 100)]
    with pytest.raises(InvalidDocument, match="nested deeper than 64 levels"):
        read_yaml("\n".join(lines), "w")


def test_a_billion_laughs_are_not_laughed() -> None:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(InvalidDocument, match=r"w:6: .*the document's aliases stand for too much"):
        read_yaml("\n".join(lines), "w")


def test_size_is_bounded() -> None:
    with pytest.raises(InvalidDocument, match="larger than 4 MiB"):
        read_yaml("x" * (MAX_BYTES + 1), "w")
    with pytest.raises(InvalidDocument, match="larger than 4 MiB"):
        read_yaml("é" * (MAX_BYTES // 2 + 1), "w")


def test_a_path_is_written_as_kubernetes_writes_it() -> None:
    assert show_path(("metadata", "labels", "example.org/team", 2)) == "metadata.labels[example.org/team][2]"


def test_dumping_quotes_what_kubernetes_would_misread_and_keeps_lines_readable() -> None:
    text = dump_yaml([{"a": "no", "b": "y", "c": "1e3", "d": "plain", "e": "one\ntwo\n"}])
    assert text == 'a: "no"\nb: "y"\nc: "1e3"\nd: plain\ne: |\n  one\n  two\n'


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("", Selector()),
        ("gpu=h100", Selector({"gpu": "h100"})),
        ("gpu == h100 , zone=b", Selector({"gpu": "h100", "zone": "b"})),
        ("a!=b", Selector({}, (Requirement("a", "NotIn", ("b",)),))),
        (
            "tier in (gold, silver),!spot",
            Selector({}, (Requirement("tier", "In", ("gold", "silver")), Requirement("spot", "DoesNotExist"))),
        ),
        ("tier notin (x)", Selector({}, (Requirement("tier", "NotIn", ("x",)),))),
        ("example.org/gpu", Selector({}, (Requirement("example.org/gpu", "Exists"),))),
        ("n>3,m<-1", Selector({}, (Requirement("n", "Gt", ("3",)), Requirement("m", "Lt", ("-1",))))),
    ],
)
def test_a_selector_is_read_as_kubectl_writes_it(text: str, selector: Selector) -> None:
    assert parse_selector(text) == selector
    assert not any(requirement.fault() for requirement in parse_selector(text).match_expressions)


@pytest.mark.parametrize("text", ["=", "a=b=c", "a in b", "a in (b", ",", "a,,b", "a=b,a=c", "a in (b c)", "!"])
def test_anything_else_is_no_selector(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^selector: "):
        parse_selector(text)
