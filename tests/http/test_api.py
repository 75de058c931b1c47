"""The HTTP side, over real sockets: who is answered, what is refused, and that nothing leaks or lingers."""

from __future__ import annotations

import asyncio
import gzip
import resource
import signal
import socket
import stat
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from fastapi import Request
from pydantic import SecretStr

from engine.admin_token import admin_token
from engine.database.connection import Connection, Pool, open_pool
from engine.http import guards, server
from engine.http.api import HttpServer, build_api, serve_http
from engine.http.guards import BODY_BYTES, hostname
from engine.http.server import HttpError
from engine.model import Blocker, EngineSnapshot, WorkerSnapshot
from engine.settings import Settings, SettingsError, load_settings

TOKEN = "t0ken-of-the-administrator-with-enough-of-it"
READY, HEALTH = "/api/v1/ready", "/api/v1/platform/system-health"


class Api:
    """An engine's HTTP server on a database, and the snapshot it tells."""

    def __init__(self) -> None:
        self.snapshot = EngineSnapshot(
            name="e",
            version="1",
            host="h",
            pid=1,
            started_at=datetime.now(UTC),
            inbound_worker=WorkerSnapshot(state="running", listening=True),
        )
        self.server: HttpServer
        self.client: httpx.AsyncClient

    @property
    def port(self) -> int:
        return int(self.server.address.rpartition(":")[2])

    async def raw(self, *parts: bytes, pause: float = 0.0) -> bytes:
        """Everything the server says to these bytes, until it closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        said = b""
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)
            async with asyncio.timeout(10):
                while chunk := await reader.read(65536):
                    said += chunk
        except ConnectionError:
            pass
        finally:
            writer.close()
        return said


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path, http_port=0)


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    async with open_pool(dsn, size=3) as pool:
        yield pool


@pytest.fixture
async def api(pool: Pool, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    monkeypatch.setattr("engine.http.api.READY_SECONDS", 0.0)
    monkeypatch.setattr("engine.http.api.NOT_READY_SECONDS", 0.0)
    api = Api()
    app = build_api(pool, settings, lambda: api.snapshot, TOKEN)

    @app.post("/echo")
    async def echo(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError(f"the password is {TOKEN}")

    api.server = await serve_http(app, settings)
    async with httpx.AsyncClient(base_url=f"http://{api.server.address}", timeout=10) as client:
        api.client = client
        yield api
    await api.server.stop()


def bearer(token: str = TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# The two endpoints


async def test_ready_says_ready_and_no_more(api: Api, db: Connection) -> None:
    answer = await api.client.get(READY)
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})
    await db.execute("ALTER TABLE et_messages DROP COLUMN llm_provider")
    answer = await api.client.get(READY)
    assert (answer.status_code, answer.json()) == (503, {"status": "not ready"})
    await db.execute("ALTER TABLE et_messages ADD COLUMN llm_provider text")
    assert (await api.client.get(READY)).status_code == 200
    assert (await api.client.head(READY)).status_code == 200


async def test_a_blocker_of_the_engine_makes_it_not_ready(api: Api) -> None:
    blocker = Blocker(code="llm.auth", what="refused", where="uniapi", remedy="mend")
    api.snapshot = api.snapshot.model_copy(update={"blockers": [blocker]})
    assert (await api.client.get(READY)).status_code == 503
    health = (await api.client.get(HEALTH, headers=bearer())).json()
    assert health["ready"] is False
    assert [b["code"] for b in health["blockers"]] == ["llm.auth"]


async def test_asking_often_does_not_keep_the_database_busy(
    api: Api, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.http.api.READY_SECONDS", 60.0)
    before = pool.get_stats().get("requests_num", 0)
    answers = await asyncio.gather(*(api.client.get(READY) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert pool.get_stats()["requests_num"] - before == 1


async def test_who_waits_for_the_start_learns_of_its_end_at_once(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.http.api.READY_SECONDS", 60.0)
    monkeypatch.setattr("engine.http.api.NOT_READY_SECONDS", 0.1)
    blocker = Blocker(code="engine.starting", what="starting", where="engine", remedy="wait")
    ready = api.snapshot
    api.snapshot = api.snapshot.model_copy(update={"blockers": [blocker]})
    assert (await api.client.get(READY)).status_code == 503
    api.snapshot = ready
    await asyncio.sleep(0.15)
    assert (await api.client.get(READY)).status_code == 200


async def test_system_health_tells_the_administrator_everything(api: Api) -> None:
    answer = await api.client.get(HEALTH, headers=bearer())
    assert answer.status_code == 200
    health = answer.json()
    assert health["ready"] is True
    assert health["blockers"] == []
    assert health["schema_compatibility"]["compatible"] is True
    assert health["inbound_worker"]["state"] == "running"
    assert {"llm_providers", "channels", "queues", "database", "engines", "checked_at"} <= health.keys()


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer tökén",
    ],
)
async def test_system_health_is_for_the_administrator_only(api: Api, header: str | None) -> None:
    headers = [] if header is None else [(b"authorization", header.encode("latin-1"))]
    answer = await api.client.get(HEALTH, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json() == {"detail": "the admin token is needed"}


async def test_a_message_is_explained_to_the_administrator_only(api: Api, db: Connection) -> None:
    cursor = await db.execute(
        "INSERT INTO et_messages (tenant_id, channel, direction, text_content, raw_payload, delivery_status)"
        " VALUES (1, 'simulator', 'inbound', 'hi', '{\"from\": \"bob\"}', 'received') RETURNING id"
    )
    row = await cursor.fetchone()
    assert row is not None
    path = "/api/v1/platform/messages/{}/explanation"
    assert (await api.client.get(path.format(1))).status_code == 401
    told = (await api.client.get(path.format(row["id"]), headers=bearer())).json()
    assert "No engine is running" in told["why"]
    assert {"route", "slow", "dear", "timeline", "remedy"} <= told.keys()
    assert (await api.client.get(path.format(999), headers=bearer())).status_code == 404
    for odd in ("x", "0", "-1", str(2**63)):
        assert (await api.client.get(path.format(odd), headers=bearer())).status_code == 400, odd
    await db.execute("ALTER TABLE et_turns DROP COLUMN attempts")
    assert (await api.client.get(path.format(row["id"]), headers=bearer())).status_code == 503


# What is refused


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost@evil", "[::2]:80"])
async def test_a_strange_host_is_refused(api: Api, host: str) -> None:
    answer = await api.client.get(READY, headers={"Host": host})
    assert answer.status_code == 400
    assert answer.json() == {"detail": "this host is not served here"}


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8765", "localhost."])
async def test_known_hosts_are_served_on_any_port(api: Api, host: str) -> None:
    assert (await api.client.get(READY, headers={"Host": host})).status_code == 200


async def test_a_request_without_a_host_is_refused(api: Api) -> None:
    assert b" 400 " in await api.raw(b"GET /api/v1/ready HTTP/1.0\r\n\r\n")


def test_hosts_are_compared_without_port_and_case() -> None:
    assert [hostname(h) for h in ("A.b:80", "[::1]:80", "[::1]", "::1", "a.b.")] == [
        "a.b",
        "::1",
        "::1",
        "::1",
        "a.b",
    ]


async def test_a_body_up_to_the_cap_arrives_whole(api: Api) -> None:
    answer = await api.client.post("/echo", content=b"x" * BODY_BYTES)
    assert answer.json() == {"bytes": BODY_BYTES}
    assert (await api.client.post("/echo")).json() == {"bytes": 0}


async def test_a_larger_body_is_refused_whether_announced_or_not(api: Api) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 1024 * 1024

    announced = await api.client.post("/echo", content=b"x" * (BODY_BYTES + 1))
    assert announced.status_code == 413
    assert announced.json() == {"detail": "the body is too large"}
    assert (await api.client.post("/echo", content=chunks())).status_code == 413
    assert (await api.client.get(READY)).status_code == 200


async def test_a_gzip_bomb_stays_shut(api: Api) -> None:
    bomb = gzip.compress(b"0" * 50_000_000)
    answer = await api.client.post("/echo", content=bomb, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 415


async def test_a_body_that_dawdles_is_given_up(
    pool: Pool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "DRAIN_SECONDS", 0.1)
    seen = []

    async def application(scope: object, receive: object, send: object) -> None:
        seen.append(scope)

    guarded = guards.Guards(application, hosts=["localhost"], body_seconds=0.05)
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {"type": "http", "headers": [(b"host", b"localhost")]}
    await guarded(scope, receive, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 408
    assert seen == []


async def test_bodies_in_memory_are_bounded_together(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "HELD_BYTES", 1000)
    assert (await api.client.post("/echo", content=b"x" * 2000)).status_code == 503
    assert (await api.client.post("/echo", content=b"x" * 900)).status_code == 200
    assert (await api.client.post("/echo", content=b"x" * 900)).status_code == 200, "they are let go of"


async def test_a_sender_that_goes_away_harms_nobody(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc"
    _, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(head)
    await writer.drain()
    writer.close()
    await asyncio.sleep(0.1)
    assert (await api.client.get(READY)).status_code == 200
    assert caplog.text == ""


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b"GET /api/v1/re"],
        [b"GET /api/v1/ready HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET /", b"api"],
    ],
    ids=["nothing", "half a head", "half a second head"],
)
async def test_a_connection_that_asks_nothing_is_closed(
    api: Api, monkeypatch: pytest.MonkeyPatch, parts: list[bytes]
) -> None:
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.2)
    monkeypatch.setattr(server, "IDLE_SECONDS", 0.1)
    async with asyncio.timeout(5):
        await api.raw(*parts, pause=0.05)


async def test_garbage_and_endless_heads_are_refused(api: Api) -> None:
    assert b" 400 " in await api.raw(b"\x16\x03\x01 this is not http\r\n\r\n")
    endless = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 200_000
    assert b" 400 " in await api.raw(endless)


async def test_attacks_leave_no_memory_behind(api: Api) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    async def attack() -> None:
        body = b"Transfer-Encoding: chunked\r\n\r\n" + b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
        await api.raw(b"POST /echo HTTP/1.1\r\nHost: localhost\r\n" + body, *[body[30:]] * 9)

    await asyncio.gather(*(attack() for _ in range(8)))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 80 * 1024, "KiB, the attackers' own copies among them"


# What is told and what is not


async def test_answers_carry_security_headers_and_no_server_name(api: Api) -> None:
    for path in (READY, HEALTH, "/nothing", "/broken"):
        answer = await api.client.get(path)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers


async def test_there_is_no_documentation_to_browse(api: Api) -> None:
    for path in ("/docs", "/redoc", "/"):
        assert (await api.client.get(path)).status_code == 404


async def test_an_error_tells_nothing_of_the_inside(api: Api) -> None:
    answer = await api.client.get("/broken")
    assert (answer.status_code, answer.json()) == (500, {"detail": "internal error"})
    assert (await api.client.post(READY)).json() == {"detail": "POST is not answered here, only GET, HEAD"}


# Serving


async def test_a_port_that_is_taken_is_named_with_its_remedy(api: Api, pool: Pool, tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, http_port=api.port)
    with pytest.raises(
        HttpError,
        match=rf"Port {api.port} is taken .* attach to it: switchboard --no-engine. Else set SWITCHBOARD_HTTP_PORT",
    ):
        await serve_http(build_api(pool, settings, lambda: api.snapshot, TOKEN), settings)


async def test_other_addresses_that_cannot_be_served_are_explained(tmp_path: Path) -> None:
    for host, said in (("no-such-host.invalid", "unknown"), ("192.0.2.1", "not an address of this machine")):
        settings = load_settings(
            data_dir=tmp_path, http_host=host, http_port=0, admin_token=SecretStr("x" * 43)
        )
        with pytest.raises(HttpError, match=said):
            server.bind(settings.http_host, settings.http_port)


async def test_stopping_frees_the_port_and_can_be_done_twice(pool: Pool, settings: Settings) -> None:
    app = build_api(pool, settings, lambda: Api().snapshot, TOKEN)
    first = await serve_http(app, settings)
    async with httpx.AsyncClient() as client:
        await client.get(f"http://{first.address}{READY}")  # a kept-alive connection does not hold it up
        async with asyncio.timeout(3):
            await first.stop()
            await first.stop()
    port = int(first.address.rpartition(":")[2])
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


async def test_signals_stay_the_engines(api: Api) -> None:
    assert threading.current_thread() is threading.main_thread()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert "uvicorn" not in repr(signal.getsignal(signal.SIGINT))


# The admin token


def test_a_token_is_made_once_and_kept_for_its_owner(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / "new" / "folder")
    token = admin_token(settings)
    assert len(token) >= 43
    assert admin_token(settings) == token
    kept = tmp_path / "new" / "folder" / "admin-token"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert kept.read_text().strip() == token
    assert [path.name for path in kept.parent.iterdir()] == ["admin-token"]


def test_a_set_token_comes_first(tmp_path: Path) -> None:
    assert admin_token(load_settings(data_dir=tmp_path, admin_token=SecretStr("mine"))) == "mine"
    assert list(tmp_path.iterdir()) == []


def test_many_at_once_agree_on_one_token(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(admin_token(settings))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_folder_that_cannot_hold_a_token_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="SWITCHBOARD_DATA_DIR"):
        admin_token(load_settings(data_dir=tmp_path / "file" / "below"))
    (tmp_path / "admin-token").write_text("\n")
    with pytest.raises(SettingsError, match="empty"):
        admin_token(load_settings(data_dir=tmp_path))
