"""A kind mirrored in memory: a list says what is, an event only what is newer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from arbora.kubernetes.api import ApiServer
from arbora_hub.kubernetes.collection import Collection, Key
from arbora_hub.kubernetes.kinds import FLEET


def fleet(version: str, text: str = "", name: str = "eu", uid: str = "u1") -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": uid, "resourceVersion": version}, "text": text}


class Mirrored:
    """A collection without an API server, and what it told."""

    def __init__(self) -> None:
        self.collection = Collection(cast(ApiServer, None), FLEET)
        self.told: list[Key] = []
        self.collection.on_change(self.told.append)

    def list(self, version: str, *pages: Sequence[dict[str, Any]]) -> None:
        """A whole list comes in."""
        self.collection.begin()
        for page in pages:
            self.collection.page(page)
        self.collection.end(version)

    def text(self, name: str = "eu") -> str | None:
        found = self.collection.get(name)
        return None if found is None else found["text"]


def test_a_list_counts_whatever_was_known_as_versions_go_back_with_a_restored_etcd() -> None:
    it = Mirrored()
    it.list("900", [fleet("900", "lost with the disk")], [fleet("899", "there", "us")])
    it.told.clear()
    it.list("120", [fleet("100", "of the backup")], [fleet("90", "also", "us")])
    assert (it.text(), it.text("us")) == ("of the backup", "also")
    assert it.told == [("", "eu"), ("", "us")]
    it.collection.put(fleet("130", "and on from there"))
    assert it.text() == "and on from there"


def test_an_event_that_lags_behind_a_write_of_ours_changes_nothing() -> None:
    it = Mirrored()
    it.list("5", [fleet("5", "first")])
    it.collection.put(fleet("9", "as our write answered"))
    it.told.clear()
    it.collection.put(fleet("7", "before it"))
    assert (it.text(), it.told) == ("as our write answered", [])


def test_an_answer_to_a_write_that_lags_behind_an_event_changes_nothing_also_during_a_list() -> None:
    it = Mirrored()
    it.list("9", [fleet("9", "newest")])
    it.collection.begin()
    it.collection.put(fleet("7", "an answer that came late"))
    assert it.text() == "newest"


@pytest.mark.parametrize("version", ["4", "5"], ids=["older", "the same"])
def test_an_object_made_anew_is_another_one_whatever_its_version(version: str) -> None:
    it = Mirrored()
    it.list("5", [fleet("5", "first")])
    it.collection.put(fleet(version, "second", uid="u2"))
    assert it.text() == "second"


def test_what_a_list_does_not_name_is_gone() -> None:
    it = Mirrored()
    it.list("5", [fleet("5")], [fleet("5", name="us")])
    it.told.clear()
    it.list("7", [fleet("5", name="us")])
    assert (len(it.collection), it.told) == (1, [("", "eu")])
