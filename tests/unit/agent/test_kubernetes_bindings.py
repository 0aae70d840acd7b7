"""Bindings of a grant on an API server: page by page, and a grant's id is a value and never a selector."""

from __future__ import annotations

from typing import Any

import pytest

from arbora.kubernetes.api import ApiServer
from arbora_agent.cluster.kubernetes.rights import KubernetesRights
from arbora_agent.cluster.port import ObjectRejected
from arbora_agent.cluster.rights import LABEL_GRANT
from tests.unit.kubernetes.scripted_api import Handler, ScriptedApi, reply


def page(*names: str, proceed: str = "", grant: str = "ci", namespace: str = "team") -> Handler:
    where = {"namespace": namespace} if namespace else {}
    items: list[dict[str, Any]] = [
        {"metadata": {"name": name, "uid": f"uid-{name}", "labels": {LABEL_GRANT: grant}, **where}}
        for name in names
    ]
    return reply({"metadata": {"continue": proceed}, "items": items})


async def found(id: str, *script: Handler) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Title -> uid, and what was asked."""
    async with ScriptedApi(*script) as server:
        api = ApiServer(server.access())
        try:
            bindings = await KubernetesRights(api, "arbora-system").bindings(id)
        finally:
            await api.close()
    return {str(ref): each.uid for ref, each in bindings.items()}, server.asked


async def test_all_pages_of_both_kinds_are_read() -> None:
    script = page("a", proceed="more"), page("b"), page("c", namespace="")
    bindings, asked = await found("ci", *script)
    assert bindings == {
        "RoleBinding team/a": "uid-a",
        "RoleBinding team/b": "uid-b",
        "ClusterRoleBinding c": "uid-c",
    }
    assert [each.get("continue") for each in asked] == [None, "more", None]
    assert {each["labelSelector"] for each in asked} == {"arbora.dev/grant=ci"}


async def test_what_the_server_answers_to_a_strange_id_is_not_taken_for_its_own() -> None:
    bindings, _ = await found("=ci", page("a"), page("c", namespace=""))
    assert bindings == {}


async def test_an_agent_without_the_right_to_list_says_what_to_do() -> None:
    with pytest.raises(ObjectRejected) as refusal:
        await found("ci", reply({"message": "rolebindings is forbidden"}, 403))
    assert "Install the agent anew" in refusal.value.hint
