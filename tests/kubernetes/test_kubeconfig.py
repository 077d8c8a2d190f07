"""Tests of kubeconfigs with a real API server: certificates, plugins, tokens, trust, proxies."""

from __future__ import annotations

import asyncio
import stat
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from tapio_otel.component import ComponentError
from tapio_otel.kubernetes.client import ApiFailure
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.listening import connected, serving, who


async def test_a_client_certificate_of_a_kubeconfig_is_shown(cluster: Cluster) -> None:
    """The server knows the certificate's common name; server and namespace are those of the context."""
    async with connected(kubeconfig=cluster.kubeconfig) as client:
        assert await who(client) == "admin"
        assert (client.server, client.namespace) == (cluster.server, "default")


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
        answers, server = await asyncio.open_connection("127.0.0.1", cluster.port)
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        try:
            await asyncio.gather(copy(reader, server), copy(answers, writer))
        finally:
            server.close()

    async with serving(serve) as port:
        path = changed_kubeconfig(cluster, tmp_path / "proxied", proxy_url=f"http://127.0.0.1:{port}")
        async with connected(kubeconfig=path) as client:
            assert await who(client) == "admin"
    assert asked == [f"CONNECT 127.0.0.1:{cluster.port} HTTP/1.1"]


async def test_a_proxy_that_cannot_be_spoken_with_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    """Only HTTP proxies are spoken with."""
    path = changed_kubeconfig(cluster, tmp_path / "socks", proxy_url="socks5://127.0.0.1:1080")
    with pytest.raises(ComponentError, match="only HTTP proxies"):
        async with connected(kubeconfig=path):
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
