"""One request to the API server: deadlines, credentials, health, and what errors mean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from arbora.errors import InvalidInput
from arbora.kubernetes.access import from_kubeconfig, in_cluster
from arbora.kubernetes.api import Answer, ApiServer
from arbora.kubernetes.discovery import Discovery, Resource
from arbora.kubernetes.failures import failure
from arbora.manifests.objects import Gvk
from arbora_agent.cluster.kubernetes.tokens import lifetime
from arbora_agent.cluster.port import ClusterUnavailable, ObjectRejected
from tests.unit.kubernetes.scripted_api import ScriptedApi, never, reply


@asynccontextmanager
async def connected(scripted: ScriptedApi, *tokens: str, deadline: float = 5.0) -> AsyncIterator[ApiServer]:
    api = ApiServer(scripted.access(tokens or ("t",)), deadline=deadline)
    try:
        yield api
    finally:
        await api.close()


async def test_a_server_that_says_nothing_is_unavailable_after_the_deadline() -> None:
    async with ScriptedApi(never) as scripted, connected(scripted, deadline=0.05) as api:
        with pytest.raises(ClusterUnavailable, match="no answer in time"):
            await api.request("GET", "/version")
        assert (api.healthy, api.trouble) == (False, "no answer in time")


async def test_nobody_listening_is_unavailable() -> None:
    async with ScriptedApi(reply({})) as scripted:
        access = scripted.access()
    api = ApiServer(access)
    with pytest.raises(ClusterUnavailable, match="can't be reached"):
        await api.request("GET", "/version")
    await api.close()


async def test_health_is_told_when_it_changes_and_only_then() -> None:
    told: list[bool] = []
    script = [reply({}), reply("oops", 500), reply("oops", 500), reply({"message": "no such"}, 404)]
    async with ScriptedApi(*script) as scripted:
        api = ApiServer(scripted.access(), on_health=lambda: told.append(api.healthy))
        for _ in range(5):
            await api.request("GET", "/version")
        await api.close()
    assert told == [False, True]


async def test_a_refused_token_is_renewed_once() -> None:
    script = [reply({"message": "Unauthorized"}, 401), reply({"gitVersion": "v1"})]
    async with ScriptedApi(*script) as scripted, connected(scripted, "old", "new") as api:
        assert (await api.request("GET", "/version")).ok
        assert [each["authorization"] for each in scripted.asked] == ["Bearer old", "Bearer new"]
    async with ScriptedApi(reply({"message": "Unauthorized"}, 401)) as scripted, connected(scripted) as api:
        assert (await api.request("GET", "/version")).status == 401
        assert len(scripted.asked) == 2
        assert not api.healthy


async def drop(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_dead_connection_is_tried_again_unless_it_would_do_something_twice() -> None:
    async with ScriptedApi(drop, reply({"a": 1})) as scripted, connected(scripted) as api:
        assert (await api.request("PATCH", "/x", body={})).body == {"a": 1}
    async with ScriptedApi(drop, reply({"a": 1})) as scripted, connected(scripted) as api:
        with pytest.raises(ClusterUnavailable):
            await api.request("POST", "/x", body={})
        assert len(scripted.asked) == 1


@pytest.mark.parametrize("status", [400, 403, 404, 405, 406, 413, 415, 422])
def test_what_another_try_wont_cure_is_a_rejection_in_the_servers_words(status: int) -> None:
    error = failure(status, {"kind": "Status", "message": 'ConfigMap "x" is invalid: data'}, "ConfigMap a/x")
    assert isinstance(error, ObjectRejected)
    assert str(error) == 'ConfigMap a/x: ConfigMap "x" is invalid: data'


@pytest.mark.parametrize("status", [302, 401, 408, 409, 410, 429, 500, 502, 503, 504])
def test_what_another_try_may_cure_is_unavailable(status: int) -> None:
    error = failure(status, {}, "x", retry_after=3.0)
    assert isinstance(error, ClusterUnavailable)
    assert (error.retryable, error.retry_after) == (True, 3.0)


def test_paths_are_built_from_quoted_segments() -> None:
    jobs = Resource(Gvk("batch/v1", "Job"), "jobs", True)
    assert jobs.path() == "/apis/batch/v1/jobs"
    assert jobs.path("team", "a?b#c") == "/apis/batch/v1/namespaces/team/jobs/a%3Fb%23c"
    nodes = Resource(Gvk("v1", "Node"), "nodes", False)
    assert nodes.path("", "n", "status") == "/api/v1/nodes/n/status"
    for climbing in ("..", ".", "a/b", "a%2Fb"):
        with pytest.raises(ObjectRejected, match="may not"):
            jobs.path("team", climbing)
        with pytest.raises(ObjectRejected, match="may not"):
            jobs.path(climbing, "a")


async def test_a_kind_is_asked_for_once_and_an_unknown_one_each_time() -> None:
    resources = [
        {"name": "jobs", "kind": "Job", "namespaced": True},
        {"name": "jobs/status", "kind": "Job", "namespaced": True},
    ]
    async with ScriptedApi(reply({"resources": resources})) as scripted, connected(scripted) as api:
        discovery = Discovery(api)
        for _ in range(3):
            assert (await discovery.resource(Gvk("batch/v1", "Job"))).plural == "jobs"
        assert len(scripted.asked) == 1
        with pytest.raises(ObjectRejected, match="no kind Jobb in batch/v1"):
            await discovery.resource(Gvk("batch/v1", "Jobb"))
        assert len(scripted.asked) == 2


async def test_a_version_that_is_served_no_more_is_found_in_another() -> None:
    versions = {"versions": [{"groupVersion": "batch/v1"}]}
    served = {"resources": [{"name": "cronjobs", "kind": "CronJob", "namespaced": True}]}
    script = [reply({}, 404), reply(versions), reply(served)]
    async with ScriptedApi(*script) as scripted, connected(scripted) as api:
        found = await Discovery(api).any_version(Gvk("batch/v1beta1", "CronJob"))
        assert found is not None
        assert found.path() == "/apis/batch/v1/cronjobs"


def test_a_tokens_lifetime_is_by_the_servers_clock() -> None:
    answer = Answer(201, {}, date="Sun, 22 Nov 2026 18:00:00 GMT")
    assert lifetime(answer, "2026-11-22T18:10:07Z") == 607
    for date, expires in (("", "2026-11-22T18:10:07Z"), (answer.date, "soon")):
        with pytest.raises(ClusterUnavailable):
            lifetime(Answer(201, {}, date=date), expires)


async def test_missing_access_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not a pod"):
        await in_cluster(tmp_path, {})()
    environ = {"KUBERNETES_SERVICE_HOST": "::1", "KUBERNETES_SERVICE_PORT": "443"}
    with pytest.raises(InvalidInput, match="token can't be read"):
        await in_cluster(tmp_path, environ)()
    (tmp_path / "token").write_text("t")
    with pytest.raises(InvalidInput, match=r"ca\.crt is missing"):
        await in_cluster(tmp_path, environ)()
    with pytest.raises(InvalidInput, match=r"kubeconfig .*nowhere can't be used"):
        await from_kubeconfig(tmp_path / "nowhere")()
    (tmp_path / "bad").write_text("- just\n- a list\n")
    with pytest.raises(InvalidInput, match="can't be used"):
        await from_kubeconfig(tmp_path / "bad")()
