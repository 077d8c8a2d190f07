"""Tests of requests to a real API server: credentials, what is refused, what is not there."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import textwrap
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tapio_otel.component import ComponentError, SourceUnavailable
from tapio_otel.kubernetes.client import ApiFailure
from tapio_otel.kubernetes.resources import CONFIG_MAPS, LEASES, PODS
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.listening import answering, connected, whole

WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


async def who(client: Any) -> str:
    """Return whom the server takes this client for."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = await client.send("POST", WHO, body)
    return answer["status"]["userInfo"]["username"]


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


async def test_a_client_certificate_of_a_kubeconfig_is_shown(cluster: Cluster) -> None:
    """The server knows the certificate's common name; server and namespace are those of the context."""
    async with connected(kubeconfig=cluster.kubeconfig) as client:
        assert await who(client) == "admin"
        assert (client.server, client.namespace) == (cluster.server, "default")


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


def plugin(path: Path, status: str) -> Path:
    """Write an exec plugin that counts its runs and says this status."""
    path.write_text(
        f"#!{sys.executable}\n"
        + textwrap.dedent(f"""
        import json, pathlib, sys
        runs = pathlib.Path(__file__).with_suffix(".runs")
        runs.write_text((runs.read_text() if runs.exists() else "") + "x")
        said = pathlib.Path(__file__).with_suffix(".fails")
        if said.exists():
            sys.exit(said.read_text())
        status = {status}
        print(json.dumps({{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}}))
        """)
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def exec_kubeconfig(cluster: Cluster, name: str, program: Path) -> Path:
    """Return a kubeconfig whose user is what the program says."""
    version = "client.authentication.k8s.io/v1"
    return cluster.write_kubeconfig(
        name, {"exec": {"apiVersion": version, "command": str(program), "interactiveMode": "Never"}}
    )


async def test_an_exec_plugin_gives_a_token_and_is_run_again_when_that_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    """The plugin's new token is shown at once; it is not run for requests that succeed."""
    (tmp_path / "token").write_text("expired")
    program = plugin(tmp_path / "plugin", f'{{"token": pathlib.Path("{tmp_path}/token").read_text()}}')
    async with connected(kubeconfig=exec_kubeconfig(cluster, "exec", program)) as client:
        (tmp_path / "token").write_text(cluster.service_account("plugin"))
        assert [await who(client) for _ in range(3)] == ["system:serviceaccount:default:plugin"] * 3
    assert (tmp_path / "plugin.runs").read_text() == "xx"


async def test_an_exec_plugin_may_give_a_certificate(cluster: Cluster, tmp_path: Path) -> None:
    """Certificate and key in the plugin's answer are used as those of files are."""
    directory = Path(cluster.authority_file).parent
    parts = {
        "clientCertificateData": (directory / "admin.pem").read_text(),
        "clientKeyData": (directory / "admin.key").read_text(),
    }
    program = plugin(tmp_path / "plugin", repr(parts))
    async with connected(kubeconfig=exec_kubeconfig(cluster, "exec-certificate", program)) as client:
        assert await who(client) == "admin"


async def test_an_exec_plugin_that_fails_is_quoted_and_tried_again(
    cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent starts all the same: the plugin's own server may not be up yet."""
    monkeypatch.setattr("tapio_otel.kubernetes.credentials.FRESH", 0.0)
    program = plugin(tmp_path / "plugin", repr({"token": cluster.service_account("late")}))
    (tmp_path / "plugin.fails").write_text("no route to the token server")
    async with connected(kubeconfig=exec_kubeconfig(cluster, "exec-failing", program)) as client:
        with pytest.raises(ApiFailure, match=r"gave no credentials: .*no route to the token server") as caught:
            await who(client)
        assert caught.value.unauthorized and client.requests == 0
        (tmp_path / "plugin.fails").unlink()
        assert await who(client) == "system:serviceaccount:default:late"
    assert "gave no credentials" in caplog.text


async def test_a_token_file_of_a_kubeconfig_is_read_again(cluster: Cluster, tmp_path: Path) -> None:
    """Of a user with tokenFile, the file is what counts."""
    file = tmp_path / "token"
    file.write_text("old")
    async with connected(kubeconfig=cluster.write_kubeconfig("token-file", {"tokenFile": str(file)})) as client:
        file.write_text(cluster.service_account("from-file"))
        assert await who(client) == "system:serviceaccount:default:from-file"


def changed_kubeconfig(cluster: Cluster, path: Path, **values: Any) -> Path:
    """Write the administrator's kubeconfig with another cluster part; None leaves out."""
    content = yaml.safe_load(cluster.kubeconfig.read_text())
    for user in content["users"]:
        for key in ("client-certificate", "client-key"):
            user["user"][key] = str(Path(cluster.authority_file).parent / user["user"][key])
    part = content["clusters"][0]["cluster"]
    part |= {name.replace("_", "-"): value for name, value in values.items()}
    content["clusters"][0]["cluster"] = {name: value for name, value in part.items() if value is not None}
    path.write_text(yaml.safe_dump(content))
    return path


async def test_a_server_that_is_not_trusted_is_told_and_may_be_trusted_on_request(cluster: Cluster, tmp_path: Path) -> None:
    """Without the cluster's CA nothing is sent; with insecure-skip-tls-verify it is."""
    untrusting = changed_kubeconfig(cluster, tmp_path / "untrusting", certificate_authority=None)
    async with connected(kubeconfig=untrusting) as client:
        with pytest.raises(ApiFailure, match=r"no TLS with .*certificate verify failed.*check the CA") as caught:
            await who(client)
        assert caught.value.status == 0
    careless = changed_kubeconfig(cluster, tmp_path / "careless", certificate_authority=None, insecure_skip_tls_verify=True)
    async with connected(kubeconfig=careless) as client:
        assert await who(client) == "admin"


async def test_the_name_in_the_servers_certificate_may_be_another_than_the_url_has(cluster: Cluster, tmp_path: Path) -> None:
    """The name tls-server-name is what the certificate must be for."""
    good = changed_kubeconfig(cluster, tmp_path / "good", tls_server_name="kubernetes.default.svc")
    async with connected(kubeconfig=good) as client:
        assert await who(client) == "admin"
    bad = changed_kubeconfig(cluster, tmp_path / "bad", tls_server_name="elsewhere.example.com")
    async with connected(kubeconfig=bad) as client:
        with pytest.raises(ApiFailure, match="no TLS with"):
            await who(client)


async def test_requests_go_through_the_proxy_of_a_kubeconfig(cluster: Cluster, tmp_path: Path) -> None:
    """The proxy is asked to CONNECT to the server, and TLS is spoken with the server through it."""
    asked: list[str] = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while some := await reader.read(65536):
            writer.write(some)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0].decode())
        server = await asyncio.open_connection("127.0.0.1", cluster.port)
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        await asyncio.gather(copy(reader, server[1]), copy(server[0], writer), return_exceptions=True)

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
    try:
        async with connected(kubeconfig=changed_kubeconfig(cluster, tmp_path / "proxied", proxy_url=url)) as client:
            assert await who(client) == "admin"
    finally:
        proxy.close()
    assert asked == [f"CONNECT 127.0.0.1:{cluster.port} HTTP/1.1"]


async def test_a_proxy_that_cannot_be_spoken_with_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    """Only HTTP proxies are spoken with."""
    path = changed_kubeconfig(cluster, tmp_path / "socks", proxy_url="socks5://127.0.0.1:1080")
    with pytest.raises(ComponentError, match="only HTTP proxies"):
        async with connected(kubeconfig=path):
            pass


async def test_a_server_without_credentials_is_asked_without_any() -> None:
    """With auth_type none the request carries no Authorization: so it is done behind kubectl proxy."""
    heads: list[str] = []

    async def answer(path: str, writer: asyncio.StreamWriter) -> None:
        heads.append(path)
        writer.write(whole(b'{"items": []}'))

    async with answering(answer) as url, connected(auth_type="none", server=url) as client:
        assert await client.get("/api/v1/pods", limit="1", fieldSelector="spec.nodeName=n1") == {"items": []}
    assert heads == ["/api/v1/pods?limit=1&fieldSelector=spec.nodeName%3Dn1"]


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
        own = {os.readlink(one) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()}
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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clusters: [", "cannot use the kubeconfig"),
        ("", "cannot use the kubeconfig .*empty"),
        ("current-context: x\ncontexts: []\nclusters: []\nusers: []\n", "Expected object with name x"),
    ],
)
async def test_a_kubeconfig_that_cannot_be_used_is_told(text: str, said: str, tmp_path: Path) -> None:
    """The official client's words are quoted, with the file."""
    (tmp_path / "config").write_text(text)
    with pytest.raises(ComponentError, match=said):
        async with connected(kubeconfig=tmp_path / "config"):
            pass


async def test_a_context_is_chosen_and_a_wrong_one_refused(cluster: Cluster) -> None:
    """The option context overrides the current one."""
    async with connected(kubeconfig=cluster.kubeconfig, context="admin") as client:
        assert await who(client) == "admin"
    with pytest.raises(ComponentError, match="Expected object with name elsewhere"):
        async with connected(kubeconfig=cluster.kubeconfig, context="elsewhere"):
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
