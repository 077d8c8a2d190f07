"""`ui`: who may ask, and what every answer carries."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from tapio_otel.component import ComponentError, Kind
from tapio_otel.extensions.ui import UiConfig, UiExtension, assets, connection, server
from tapio_otel.extensions.ui.access import SESSION_SECONDS, Access, names_of_machine
from tapio_otel.extensions.ui.errors import ApiError
from tests.components import context
from tests.exporting.certificates import Authority
from tests.extensions.ui_agent import TOKEN, Agent, event, running

EVERYWHERE = UiConfig(endpoint="0.0.0.0:8321", token=TOKEN, allowed_hosts=("node-1.example",))
GUARDED = f"token: {TOKEN}"


async def raw(port: int, text: str | bytes) -> bytes:
    """Return the beginning of what a server answers to bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text if isinstance(text, bytes) else text.encode())
    answer = await asyncio.wait_for(reader.read(4096), 20)
    writer.close()
    return answer


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8321", "127.0.0.1", "127.0.0.1:1", "[::1]:8321", "localhost.", "a.localhost"]
)
def test_loopback_names_are_always_taken(host):
    """Whatever the port: it may be that of a tunnel."""
    Access(UiConfig()).check_host([host])
    Access(EVERYWHERE).check_host([host])


@pytest.mark.parametrize(
    "hosts",
    [["evil.example"], ["evil.example:8321"], [], ["localhost", "localhost"], [""], ["localhost:80@evil"], ["[::1"], ["[::1]x"],
     ["127.0.0.1.evil.example"], ["localhost.evil.example"], ["10.0.0.1"]],
)  # fmt: skip
def test_other_hosts_are_refused(hosts):
    """A page whose own name leads to 127.0.0.1 gets nothing."""
    with pytest.raises(ApiError, match=r"this agent answers to localhost") as caught:
        Access(UiConfig(endpoint="localhost:8321")).check_host(hosts)
    assert caught.value.status == 421


def test_on_all_interfaces_addresses_and_configured_names_are_taken():
    """Names lead anywhere, addresses do not."""
    access = Access(EVERYWHERE, own={"Machine"})
    for host in ("10.0.0.1:8321", "[fe80::1]:8321", "node-1.example", "NODE-1.example:8321", "machine"):
        access.check_host([host])
    with pytest.raises(ApiError):
        access.check_host(["node-2.example"])
    assert socket.gethostname() in names_of_machine(EVERYWHERE)
    assert not names_of_machine(UiConfig())


def test_a_session_ends_after_its_time_and_with_its_token():
    """It is no secret of its own, and cannot be made up."""
    now = 1000.0
    access = Access(UiConfig(token=TOKEN), lambda: now)
    cookie = access.new_session()
    access.check_token("", cookie)
    now += SESSION_SECONDS
    for wrong in (
        cookie,
        cookie.replace(str(int(now)), str(int(now) + 9)),
        "",
        "x",
        ".",
        "é.é",
        cookie.partition(".")[0] + ".",
    ):
        with pytest.raises(ApiError):
            access.check_token("", wrong)
    with pytest.raises(ApiError):
        Access(UiConfig(token=TOKEN + "2"), lambda: 1000.0).check_token("", cookie)
    assert TOKEN not in cookie


@pytest.mark.parametrize("shown", ["", "Bearer", "Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x", TOKEN, "Bearer \udcff"])
def test_what_is_not_the_token_is_refused(shown):
    """Whatever else a request shows."""
    with pytest.raises(ApiError) as caught:
        Access(UiConfig(token=TOKEN)).check_token(shown, "")
    assert caught.value.status == 401


async def test_every_route_but_the_page_and_the_session_needs_the_token(tmp_path):
    """Those of the OpenAPI document, none left out."""
    async with running(tmp_path, options=GUARDED) as agent:
        shown = {"Authorization": f"Bearer {TOKEN}"}
        document = await agent.json("openapi.json", headers=shown)
        for path in document["paths"]:
            if path != "/session":
                status, content = await agent.get(path[1:].replace("{", "").replace("}", ""))
                assert (status, content["error"]["code"]) == (401, "unauthorized"), path
        async with agent.client.get(agent.address) as response:
            assert response.status != 401
        assert (await agent.get("events", headers=shown))[0] == 200
        assert (await agent.get("%65vents"))[0] == 401


async def test_a_session_counts_as_the_token(tmp_path):
    """The cookie is not shown to scripts, goes to no other site, and is taken back."""
    async with running(tmp_path, options=GUARDED) as agent:
        session = f"{agent.address}api/v1/session"
        async with agent.client.post(session, json={"token": "wrong-wrong-wrong-wrong"}) as response:
            assert (response.status, response.headers.getall("Set-Cookie", [])) == (401, [])
        async with agent.client.post(session, json={"token": TOKEN}) as response:
            (cookie,) = response.headers.getall("Set-Cookie")
            assert response.status == 204
            assert all(word in cookie for word in ("HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={SESSION_SECONDS}"))
        assert (await agent.get("events"))[0] == 200
        async with agent.client.delete(session) as response:
            assert response.status == 204
        assert (await agent.get("events"))[0] == 401


@pytest.mark.parametrize(
    ("body", "type", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"token": 1}', "application/json", 400),
        (b'{"token": "x", "more": 1}', "application/json", 400),
        (b"token=x", "application/x-www-form-urlencoded", 415),
        (b'{"token": "' + b"x" * 20_000 + b'"}', "application/json", 413),
    ],
)
async def test_a_body_that_is_no_token_is_refused(tmp_path, body, type, status):
    """With words that say what to send."""
    async with running(tmp_path, options=GUARDED) as agent:
        options = {"data": body, "headers": {"Content-Type": type}}
        async with agent.client.post(f"{agent.address}api/v1/session", **options) as response:
            assert response.status == status
            assert (await response.json())["error"]["message"]


async def test_every_answer_carries_the_headers_that_bind_browsers(tmp_path):
    """Those of the page, the API, the stream, and of what is refused."""
    async with running(tmp_path) as agent:
        for path in ("", "assets/none.js", "api/v1/events", "api/v1/none", "api/v1/events?limit=x", "api/v1/stream"):
            async with agent.client.get(agent.address + path) as response:
                found = response.headers
                assert "default-src 'none'; script-src 'self'; style-src 'self'" in found["Content-Security-Policy"]
                assert "unsafe" not in found["Content-Security-Policy"]
                assert (found["X-Content-Type-Options"], found["X-Frame-Options"]) == ("nosniff", "DENY")
                assert (found["Referrer-Policy"], found["Server"]) == ("no-referrer", "tapio")
                assert found["Cross-Origin-Resource-Policy"] == "same-origin"
                assert not any(name.startswith("Access-Control") for name in found)


async def test_pages_of_other_sites_are_refused(tmp_path):
    """By their name as host, and by what browsers say of them."""
    async with running(tmp_path) as agent:
        for headers, status in (({"Host": "evil.example"}, 421), ({"Sec-Fetch-Site": "cross-site"}, 403)):
            assert (await agent.get("events", headers=headers))[0] == status
        async with agent.client.options(
            f"{agent.address}api/v1/events", headers={"Origin": "https://evil.example"}
        ) as response:
            assert response.status == 405
        answer = await raw(agent.port, "GET /api/v1/events HTTP/1.0\r\n\r\n")
        assert b" 421 " in answer.split(b"\r\n")[0]
        answer = await raw(agent.port, "GET http://evil.example/api/v1/events HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert b" 421 " in answer.split(b"\r\n")[0]


async def test_no_path_leads_out_of_the_assets(tmp_path, monkeypatch):
    """However it is written; what is there is served with its type and can be cached by its tag."""
    page = tmp_path / "assets"
    page.mkdir()
    (page / "index.html").write_text("<!doctype html><title>tapio</title>")
    (page / "app.js").write_text("'use strict'")
    (page / "app.sh").write_text("no type")
    (tmp_path / "secret.js").write_text("secret")
    monkeypatch.setattr(assets.load_assets, "__defaults__", (page,))
    async with running(tmp_path / "state") as agent:
        for path in ("../secret.js", "..%2fsecret.js", "%2e%2e/secret.js", "/../secret.js", "..\\secret.js", "app.sh",
                     "app.js/", "%00", "app.js%00", f"{tmp_path}/secret.js", "./app.js/../../../secret.js"):  # fmt: skip
            answer = await raw(agent.port, f"GET /assets/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert answer.split(b"\r\n")[0].split()[1] in {b"404", b"400"}, path
            assert b"secret\n" not in answer
        async with agent.client.get(agent.address) as response:
            assert (response.status, response.content_type) == (200, "text/html")
            assert "<title>tapio" in await response.text()
        async with agent.client.get(f"{agent.address}assets/app.js") as response:
            assert (response.content_type, await response.text()) == ("text/javascript", "'use strict'")
            tag = response.headers["ETag"]
        async with agent.client.get(f"{agent.address}assets/app.js", headers={"If-None-Match": tag}) as response:
            assert (response.status, await response.read()) == (304, b"")


async def test_a_missing_page_says_so(tmp_path, monkeypatch):
    """In plain text, and the API works."""
    monkeypatch.setattr(assets.load_assets, "__defaults__", (tmp_path / "none",))
    async with running(tmp_path / "state") as agent:
        async with agent.client.get(agent.address) as response:
            assert (response.status, response.content_type) == (404, "text/plain")
            assert "its files are missing from the package" in await response.text()
        assert (await agent.get("events"))[0] == 200


async def test_methods_that_change_something_do_not_exist(tmp_path):
    """They are answered with those that do."""
    async with running(tmp_path) as agent:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            async with agent.client.request(method, f"{agent.address}api/v1/events") as response:
                assert (response.status, response.headers["Allow"]) == (405, "GET,HEAD")
                assert (await response.json())["error"]["code"] == "method_not_allowed"


async def test_garbage_is_refused_and_the_agent_goes_on(tmp_path):
    """No matter what comes over the connection."""
    async with running(tmp_path) as agent:
        for garbage in (b"\0\1\2\3\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
                        b"GET / HTTP/1.1\r\n" + b"".join(b"A%d: b\r\n" % n for n in range(1000)) + b"\r\n"):  # fmt: skip
            assert b" 200 " not in (await raw(agent.port, garbage))[:20]
        assert (await agent.get("events"))[0] == 200


async def test_connections_beyond_the_limit_are_closed(tmp_path, monkeypatch):
    """Whoever opens many keeps nobody's descriptors; once they go, others come in again."""
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 4)
    async with running(tmp_path) as agent:
        opened = [await asyncio.open_connection("127.0.0.1", agent.port) for _ in range(4)]
        reader, writer = await asyncio.open_connection("127.0.0.1", agent.port)
        assert await asyncio.wait_for(reader.read(), 10) == b""
        for one in (writer, *(mine for _, mine in opened)):
            one.close()
            await one.wait_closed()
        async with asyncio.timeout(10):
            while True:
                try:
                    assert (await agent.get("events"))[0] == 200
                    break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.05)


async def test_a_request_that_never_ends_is_cut_off(tmp_path, monkeypatch):
    """Its head, and its body."""
    monkeypatch.setattr(server, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr("tapio_otel.extensions.ui.exchange.BODY_SECONDS", 0.1)
    async with running(tmp_path) as agent:
        reader, writer = await asyncio.open_connection("127.0.0.1", agent.port)
        writer.write(b"GET / HTTP/1.1\r\nHost:")
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", agent.port)
        head = b"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n"
        writer.write(b"POST /api/v1/session HTTP/1.1\r\n" + head)
        assert b" 408 " in await asyncio.wait_for(reader.readline(), 10)
        writer.close()


async def test_it_speaks_tls(tmp_path):
    """With the certificate that it is given, TLS 1.2 at least; the cookie is then for encrypted connections only."""
    authority = Authority(tmp_path / "certificates")
    issued = authority.issue("localhost")
    options = f"{GUARDED}, tls: {{cert_file: '{issued.cert_file}', key_file: '{issued.key_file}'}}"
    async with running(tmp_path / "state", options=options) as agent:
        trusted = ssl.create_default_context(cafile=authority.file)
        address = f"https://localhost:{agent.port}/api/v1"
        async with agent.client.post(f"{address}/session", json={"token": TOKEN}, ssl=trusted) as response:
            assert "Secure" in response.headers["Set-Cookie"]
        async with agent.client.get(f"{address}/settings", ssl=trusted) as response:
            assert response.status == 200


async def test_a_certificate_that_does_not_fit_is_an_error_that_says_what_to_do(tmp_path):
    """Missing files, and files that are no certificate."""
    (tmp_path / "no.pem").write_text("no certificate")
    for path in (tmp_path / "none.pem", tmp_path / "no.pem"):
        tls = {"cert_file": str(path), "key_file": str(path)}
        extension = UiExtension(context(Kind.EXTENSION, "ui"), UiConfig(endpoint="127.0.0.1:0", tls=tls))
        with pytest.raises(ComponentError, match=r"tls: cannot use .* Check the paths, their rights"):
            await extension.start()
        await extension.shutdown()
        assert UiExtension.files_read(extension.config) == (Path(path), Path(path))


def test_the_token_is_in_no_text_of_the_options():
    """Neither in their form for people nor as JSON."""
    config = UiConfig(token=TOKEN)
    assert TOKEN not in repr(config) + str(config) + json.dumps(config.model_dump(mode="json"))


async def unread_answer(agent: Agent, path: str) -> asyncio.StreamWriter:
    """Ask for something, and read none of the answer."""
    _, writer = await asyncio.open_connection("127.0.0.1", agent.port, limit=1024)
    writer.transport.pause_reading()
    writer.write(f"GET /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return writer


def unread(agent: Agent) -> list[int]:
    """Return how many bytes wait for each client that does not read."""
    extension = next(one for one in agent.service.graph.extensions if isinstance(one, UiExtension))
    assert extension._ui is not None
    return [one.unread for one in extension._ui._server.connections._open if one.unread]


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.02)


async def test_who_does_not_read_is_cut_off(tmp_path, monkeypatch):
    """Else it would keep the answer in the agent's memory, and one of its connections, for ever."""
    monkeypatch.setattr(connection, "UNREAD_SECONDS", 0.5)
    async with running(tmp_path) as agent:
        await agent.feed(*(event(number, description="x" * 1_000_000) for number in range(12)))
        writer = await unread_answer(agent, "events?limit=100")
        await until(lambda: bool(unread(agent)))
        await until(lambda: not unread(agent))
        assert (await agent.get("settings"))[0] == 200
        writer.transport.abort()


async def test_answers_that_nobody_reads_are_bounded(tmp_path, monkeypatch):
    """Beyond the bound others are refused until they are read or cut off; the end waits for none of it."""
    monkeypatch.setattr(connection, "MOST_UNREAD", 1_000_000)
    async with running(tmp_path) as agent:
        await agent.feed(*(event(number, description="x" * 1_000_000) for number in range(12)))
        writer = await unread_answer(agent, "events?limit=100")
        await until(lambda: bool(unread(agent)))
        status, told = await agent.get("events?limit=1")
        assert (status, told["error"]["code"]) == (503, "busy")
        assert (await agent.get("settings"))[0] == 200
        writer.transport.abort()
        await until(lambda: not unread(agent))
        assert (await agent.get("events?limit=1"))[0] == 200
