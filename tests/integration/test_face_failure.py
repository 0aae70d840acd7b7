"""A failure in the hub's face in Kubernetes is an event of the hub, which goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from arbora.v1 import event_pb2
from arbora_hub.kubernetes import features
from arbora_hub.kubernetes.face import Part
from tests.support.eventually import eventually
from tests.support.hub import running_hub

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: k, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: c, context: {cluster: k, user: u}}]
"""


class Fails:
    """A part with a mistake."""

    async def run(self) -> None:
        raise KeyError("spec")


async def test_the_hub_goes_on_and_says_why_its_face_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parts(api: object, hub: object) -> Sequence[Part]:
        return (Fails(),)

    monkeypatch.setattr(features, "parts", parts)
    file = tmp_path / "kubeconfig"
    file.write_text(KUBECONFIG)
    async with running_hub(tmp_path / "hub", kubeconfig=str(file)) as hub:

        async def failed() -> event_pb2.Event | None:
            return next((event for event in await hub.events() if event.reason == "FaceFailed"), None)

        event = await eventually(failed, "the event")
        assert event is not None
        assert (event.severity, event.subject) == (event_pb2.SEVERITY_WARNING, "hub/kubernetes")
        assert "Fails failed: KeyError: 'spec'" in event.message
        assert hub.hub.face.present is False
        await hub.join_token("edge-7")
