"""A kubeconfig for a member behind a hub: plain data that every client of Kubernetes reads."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import unquote, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from arbora.client.kubeconfig import kubeconfig, proxy_url
from arbora.manifests.strict_yaml import dump_yaml, read_yaml
from arbora.secret import Secret
from arbora_hub.gateway.head import TARGETS

COMMAND = ("/usr/bin/arbora", "credential-plugin", "--member", "/eu/edge-7")
PROXY = "https://edge-7.eu:arbk.a.b@gateway.example.org:7447"
WORDS = st.text(min_size=1, max_size=30)


def made(**changes: Any) -> dict[str, Any]:
    given = {"name": "eu-edge-7", "proxy": PROXY, "authorities": b"PEM", "command": COMMAND, **changes}
    return kubeconfig(**given)


def test_it_has_one_context_that_is_the_current_one_and_hangs_together() -> None:
    file = made()
    assert (file["apiVersion"], file["kind"], file["current-context"]) == ("v1", "Config", "eu-edge-7")
    (context,), (cluster,), (user,) = file["contexts"], file["clusters"], file["users"]
    assert context == {"name": "eu-edge-7", "context": {"cluster": cluster["name"], "user": user["name"]}}


def test_the_server_is_one_to_which_the_gateway_leads() -> None:
    server = urlsplit(made()["clusters"][0]["cluster"]["server"])
    assert server.scheme == "https"
    assert server.netloc in TARGETS


def test_the_cluster_is_reached_through_the_gateway_and_verified_by_the_authorities() -> None:
    cluster = made(authorities=b"one\ntwo\n")["clusters"][0]["cluster"]
    assert cluster["proxy-url"] == PROXY
    assert base64.b64decode(cluster["certificate-authority-data"]) == b"one\ntwo\n"
    assert not {"insecure-skip-tls-verify", "tls-server-name"} & set(cluster)


def test_the_user_is_whom_the_plugin_gets_a_token_for_and_no_token_is_kept() -> None:
    user = made()["users"][0]["user"]
    plugin = user.pop("exec")
    assert user == {}
    assert plugin["apiVersion"] == "client.authentication.k8s.io/v1"
    assert (plugin["command"], plugin["args"]) == (COMMAND[0], list(COMMAND[1:]))
    assert plugin["interactiveMode"] == "Never", "which v1 demands"
    assert plugin["installHint"]


def test_a_namespace_stands_in_the_context_if_there_is_one() -> None:
    assert made(namespace="team")["contexts"][0]["context"]["namespace"] == "team"
    assert "namespace" not in made()["contexts"][0]["context"]


@given(WORDS, WORDS)
def test_user_and_password_stand_in_the_proxys_address_whatever_they_are(user: str, token: str) -> None:
    url = urlsplit(proxy_url(user, Secret(token), "gateway.example.org:7447"))
    assert (url.scheme, url.hostname, url.port) == ("https", "gateway.example.org", 7447)
    assert (unquote(url.username or ""), unquote(url.password or "")) == (user, token)


def test_a_gateway_may_be_an_address_of_ipv6() -> None:
    url = urlsplit(proxy_url("edge-7", Secret("arbk.a.b"), "[2001:db8::1]:7447"))
    assert (url.hostname, url.port) == ("2001:db8::1", 7447)


@given(st.lists(WORDS, min_size=1, max_size=4), WORDS, st.binary(max_size=50))
def test_it_is_written_and_read_back_whatever_the_arguments(
    command: list[str], namespace: str, authorities: bytes
) -> None:
    file = made(command=command, namespace=namespace, authorities=authorities)
    (document,) = read_yaml(dump_yaml([file]), "kubeconfig")
    assert document.value == file


def test_nothing_of_it_is_shared_between_two() -> None:
    one, other = made(), made()
    one["clusters"][0]["cluster"]["server"] = "changed"
    one["users"][0]["user"]["exec"]["args"].append("changed")
    assert other == made()
