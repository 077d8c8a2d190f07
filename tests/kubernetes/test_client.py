"""Tests of requests to a real API server: credentials, what is refused, what is not there."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tapio_otel.component import ComponentError, SourceUnavailable
from tapio_otel.kubernetes.client import ApiFailure
from tapio_otel.kubernetes.resources import CONFIG_MAPS, LEASES, PODS
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.listening import answering, connected, serving, who, whole


@pytest.fixture
def in_pod(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment that every pod has."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(cluster.port))


async def test_an_object_is_created_read_changed_and_deleted(cluster: Cluster) -> None:
    """Each verb says what the server answered, and another namespace's path is another object's."""
    path = CONFIG_MAPS.path(cluster.namespace("verbs"))
    async with connected(kubeconfig=cluster.kubeconfig) as client:
        made = await client.send("POST", path, {"metadata": {"name": "one"}, "data": {"a": "1"}})
        assert made["data"] == {"a": "1"}
        patched = await client.send("PATCH", f"{path}/one", {"data": {"a": "2"}}, "application/merge-patch+json")
        assert patched["data"] == {"a": "2"} == (await client.get(f"{path}/one"))["data"]
        assert (await client.send("DELETE", f"{path}/one", None))["status"] == "Success"
        with pytest.raises(ApiFailure) as caught:
            await client.get(f"{path}/one")
    assert caught.value.missing and caught.value.reason == "NotFound"
    assert "cannot get configmaps one in namespace verbs: 404" in str(caught.value)


async def test_a_conflict_is_told_by_its_status(cluster: Cluster) -> None:
    """Of two who write what they read, the second is refused: an election lives by that."""
    path = LEASES.path(cluster.namespace("conflict"))
    async with connected(kubeconfig=cluster.kubeconfig) as client:
        lease = await client.send("POST", path, {"metadata": {"name": "leader"}, "spec": {"holderIdentity": "a"}})
        await client.send("PUT", f"{path}/leader", lease | {"spec": {"holderIdentity": "b"}})
        with pytest.raises(ApiFailure, match=r"cannot update leases[.]coordination[.]k8s[.]io leader") as caught:
            await client.send("PUT", f"{path}/leader", lease | {"spec": {"holderIdentity": "c"}})
    assert (caught.value.status, caught.value.reason) == (409, "Conflict")


async def test_a_pod_shows_its_service_account(cluster: Cluster, in_pod: None) -> None:
    """Token, CA and namespace come from the directory that the kubelet mounts; the server's address from the environment."""
    directory = cluster.write_account_directory("agent", cluster.namespace("agents"))
    async with connected(service_account_directory=directory) as client:
        assert await who(client) == "system:serviceaccount:agents:agent"
        assert (client.server, client.namespace) == (cluster.server, "agents")


async def test_a_token_that_is_replaced_is_read_again_as_soon_as_the_old_is_refused(cluster: Cluster, in_pod: None) -> None:
    """One request is refused and sent again with the new token; nobody above learns of it."""
    token = cluster.service_account("rotated")
    directory = cluster.write_account_directory("rotated", token="long-expired")
    async with connected(service_account_directory=directory) as client:
        (directory / "token").write_text(token)
        assert await who(client) == "system:serviceaccount:default:rotated"
        assert client.requests == 2


def signed(cluster: Cluster, token: str, seconds: int) -> str:
    """Return a token of the API as it would be if it expired so many seconds from now."""
    head, claims, _ = token.split(".")
    content = orjson.loads(urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    content |= {"exp": int(time.time()) + seconds}
    text = f"{head}.{urlsafe_b64encode(orjson.dumps(content)).decode().rstrip('=')}"
    key = load_pem_private_key((Path(cluster.authority_file).parent / "service-accounts.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    parts = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(SHA256())))
    signature = b"".join(part.to_bytes(32, "big") for part in parts)
    return f"{text}.{urlsafe_b64encode(signature).decode().rstrip('=')}"


async def test_a_token_that_has_expired_is_replaced_by_the_next_in_its_file(cluster: Cluster, in_pod: None) -> None:
    """The server refuses what it has signed itself; the kubelet has written another meanwhile."""
    token = cluster.service_account("expiring")
    directory = cluster.write_account_directory("expiring", token=signed(cluster, token, -60))
    async with connected(service_account_directory=directory) as client:
        with pytest.raises(ApiFailure, match="is the token or certificate still valid"):
            await who(client)
    async with connected(service_account_directory=directory) as client:
        (directory / "token").write_text(signed(cluster, token, 600))
        assert await who(client) == "system:serviceaccount:default:expiring"
        assert client.requests == 2


async def test_credentials_that_stay_bad_are_refused_once_for_each_request(cluster: Cluster, in_pod: None) -> None:
    """Nothing is sent a second time where reading again gave the same token."""
    directory = cluster.write_account_directory("refused", token="nonsense")
    async with connected(service_account_directory=directory) as client:
        for _ in range(3):
            with pytest.raises(ApiFailure, match="does not accept the credentials to list pods") as caught:
                await client.get(PODS.path("default"))
            assert caught.value.unauthorized
        assert client.requests == 3


async def test_what_may_not_be_done_is_told_with_what_would_allow_it(cluster: Cluster, in_pod: None) -> None:
    """The text names the account, verb, resource, API group and namespace, and the role to change."""
    directory = cluster.write_account_directory("powerless")
    async with connected(service_account_directory=directory) as client:
        with pytest.raises(ApiFailure) as everywhere:
            await client.get("/api/v1/pods")
        with pytest.raises(ApiFailure) as somewhere:
            await client.send("PUT", LEASES.path("default", "leader"), {"metadata": {"name": "leader"}})
        with pytest.raises(ApiFailure) as watching:
            async with client.stream("/api/v1/nodes"):
                pass
    assert everywhere.value.forbidden and watching.value.forbidden
    account = "system:serviceaccount:default:powerless may not"
    rule = "add verbs [list, watch] of pods to its ClusterRole"
    assert str(everywhere.value).startswith(f"{account} list pods in all namespaces: {rule} (the server said: ")
    rule = "add verbs [update] of leases (API group coordination.k8s.io) to its Role in namespace default, or its ClusterRole"
    asked = "update leases.coordination.k8s.io leader in namespace default"
    assert str(somewhere.value).startswith(f"{account} {asked}: {rule}")
    assert str(watching.value).startswith(f"{account} watch nodes: add verbs [list, watch] of nodes to its ClusterRole")


async def test_a_server_without_credentials_is_asked_without_any() -> None:
    """With auth_type none the request carries no Authorization: so it is done behind kubectl proxy."""
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(whole(b'{"items": []}'))

    async with serving(serve) as port, connected(auth_type="none", server=f"http://127.0.0.1:{port}/") as client:
        assert await client.get("/api/v1/pods", limit="1", fieldSelector="spec.nodeName=n1") == {"items": []}
    assert heads[0].startswith("GET /api/v1/pods?limit=1&fieldSelector=spec.nodeName%3Dn1 HTTP/1.1")
    assert "User-Agent: tapio-otel/" in heads[0] and "authorization" not in heads[0].lower()


async def test_an_answer_that_is_no_json_is_quoted() -> None:
    """A portal or load balancer answers pages."""

    async def answer(_path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(whole(b"<html>Please log in"))

    async with answering(answer) as url, connected(auth_type="none", server=url) as client:
        with pytest.raises(ApiFailure, match="the server answered no JSON, but '<html>Please log in'"):
            await client.get("/api/v1/pods")


async def test_a_server_that_does_not_answer_is_given_up() -> None:
    """After request_timeout the request fails without a status."""

    async def answer(_path: str, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with answering(answer) as url, connected(auth_type="none", server=url, request_timeout="50ms") as client:
        with pytest.raises(ApiFailure, match=r"cannot list pods in all namespaces: .* is silent") as caught:
            await client.get("/api/v1/pods")
    assert caught.value.status == 0


async def test_no_server_at_all_is_told_by_name() -> None:
    """Where nobody listens, the text names the server."""
    async with connected(auth_type="none", server="http://127.0.0.1:1") as client:
        with pytest.raises(ApiFailure, match=r"cannot list nodes at http://127\.0\.0\.1:1: "):
            await client.get("/api/v1/nodes")


async def test_a_watch_is_kept_alive_by_tcp(cluster: Cluster) -> None:
    """A peer that is gone without a word is found out within a minute: the kernel's timer is of seconds, not of hours."""

    def timers() -> list[float]:
        rows = [row.split() for row in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
        server = f"0100007F:{cluster.port:04X}"
        # proc(5): the timer's kind, 2 for keepalive, and its time left in hundredths of seconds.
        own = {str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()}
        kinds = [row[5].split(":") for row in rows if row[2] == server and f"socket:[{row[9]}]" in own]
        return [int(left, 16) / 100 for kind, left in kinds if kind == "02"]

    async with connected(kubeconfig=cluster.kubeconfig) as client, client.stream(PODS.path(), timeoutSeconds="30"):
        assert any(left <= 31 for left in timers())


async def test_a_closed_client_says_so() -> None:
    """Closing is safe at any time, asking is not."""
    async with connected(auth_type="none", server="http://127.0.0.1:1") as client:
        await client.close()
        with pytest.raises(ApiFailure, match="the client is closed"):
            await client.get("/version")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "this is no pod with a service account, and there is no kubeconfig"),
        ({"kubeconfig": "/nonexistent/config"}, "there is no kubeconfig '/nonexistent/config'. Correct kubeconfig"),
        ({"auth_type": "kubeConfig"}, "there is no kubeconfig .*Set kubeconfig or"),
        ({"auth_type": "serviceAccount"}, "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set"),
        ({"auth_type": "none"}, "no Kubernetes API server is known.*or set server"),
    ],
)
async def test_a_machine_without_kubernetes_is_told_apart(
    values: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is missing is named, with what to do: so a node without Kubernetes is no failure of anything."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(SourceUnavailable, match=said):
        async with connected(**values):
            pass


@pytest.mark.parametrize("content", ["", "two\nlines", "ümlaut"])
async def test_a_token_that_is_none_is_refused(content: str, cluster: Cluster, in_pod: None) -> None:
    """An empty or broken token file is named."""
    directory = cluster.write_account_directory("broken", token="x")
    (directory / "token").write_text(content)
    with pytest.raises(ComponentError, match="token holds no token"):
        async with connected(service_account_directory=directory):
            pass


async def test_a_service_account_without_a_ca_is_told(cluster: Cluster, in_pod: None, tmp_path: Path) -> None:
    """The missing file is named, with the field of the pod that mounts it."""
    (tmp_path / "token").write_text("t")
    with pytest.raises(ComponentError, match=r"ca\.crt.*automountServiceAccountToken"):
        async with connected(service_account_directory=tmp_path):
            pass


def test_a_pod_needs_nothing_of_the_official_client(cluster: Cluster, in_pod: None) -> None:
    """Its 11 MB are loaded for a kubeconfig only."""
    directory = cluster.write_account_directory("light")
    program = f"""
import asyncio, sys
from tests.kubernetes.listening import connected
async def main():
    async with connected(service_account_directory={str(directory)!r}) as client:
        await client.get("/version")
asyncio.run(main())
sys.exit("kubernetes" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
