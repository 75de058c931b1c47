"""The console in a browser: who is let in, one console a page and no engine, and that nothing outlives the server."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from console.serving import ServeError, listen
from tests.support.browser import CHROMIUM, browser
from tests.support.consoles import as_url
from tests.support.seed import Seed
from tests.support.terminal import SEQUENCE

SWITCHBOARD = str(Path(sys.executable).with_name("switchboard"))
PATIENCE = 30.0


class Served:
    """A `switchboard serve` and the address it printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        first = process.stdout.readline()
        match = re.search(r"(http://127\.0\.0\.1:(\d+))/\?token=(\S+)", first)
        assert match is not None, first + process.stderr.read() if process.stderr else first
        self.address, self.base, self.secret = match[0], match[1], match[3]

    def children(self) -> list[int]:
        """Its processes."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(number) for number in path.read_text().split()]


@pytest.fixture
def served(dsn: str, seed: Seed, tmp_path: Path) -> Iterator[Served]:
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TMUX")}
    environment |= {
        "DATABASE_URL": as_url(dsn).get_secret_value(),
        "SWITCHBOARD_DATA_DIR": str(tmp_path),
    }
    process = subprocess.Popen(
        [SWITCHBOARD, "serve", "--port", "0"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=tmp_path, env=environment,
    )  # fmt: skip
    try:
        yield Served(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@asynccontextmanager
async def page(served: Served) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A page's terminal, the secret in its cookie."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        async with session.get(served.address) as answer:
            assert answer.status == 200
        async with session.ws_connect(f"{served.base}/ws?width=140&height=40") as terminal:
            yield terminal


async def shows(terminal: aiohttp.ClientWebSocketResponse, text: str) -> None:
    """Wait until the page was sent a text."""
    seen = b""
    async with asyncio.timeout(PATIENCE):
        while text not in SEQUENCE.sub(b"", seen).decode("utf-8", "replace"):
            message = await terminal.receive()
            assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), message
            seen += message.data if isinstance(message.data, bytes) else b""


async def holds(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.05)


def keep(path: Path, picture: bytes) -> None:
    """For a person who wants to look."""
    path.write_bytes(picture)


def alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# Where


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::", "shop.example"])
def test_only_this_machine_is_served(host: str) -> None:
    with pytest.raises(ServeError, match="ssh -L"):
        listen(host, 0)


def test_a_taken_port_is_named_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [SWITCHBOARD, "serve", "--port", port], cwd=tmp_path, capture_output=True, text=True, check=False,
            env=os.environ | {"SWITCHBOARD_DATA_DIR": str(tmp_path)},
        )  # fmt: skip
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert port in line and "--port" in line


# Who


async def answered(served: Served, header: bytes) -> bytes:
    """The first line of the answer to a request with a header as no client would send it."""
    host, port = served.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n".encode() + header + b"\r\n\r\n"
    )
    line = await reader.readline()
    writer.close()
    return line


async def test_only_who_has_the_secret_is_let_in(served: Served) -> None:
    cookie = {f"switchboard-{served.base.rsplit(':', 1)[1]}": served.secret}
    paths = ("/", "/ws", "/static/js/textual.js", "/?token=wrong", "/?token=")
    async with aiohttp.ClientSession() as stranger:
        for path in paths:
            async with stranger.get(served.base + path) as answer:
                assert answer.status == 403, path
        for port in (1, 65_000):
            async with stranger.get(served.base, headers={"Host": f"evil.example:{port}"}) as answer:
                assert answer.status == 400
    assert b" 403 " in await answered(served, b"Cookie: " + next(iter(cookie)).encode() + b"=\xff\xe9")
    async with aiohttp.ClientSession(cookies=cookie, cookie_jar=aiohttp.CookieJar(unsafe=True)) as friend:
        url = served.base
        async with friend.get(url, cookies=cookie) as answer:
            assert answer.status == 200
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy and "https:" not in policy
        for origin in ("http://evil.example", "null", url.replace("127.0.0.1", "localhost")):
            async with friend.get(f"{url}/ws", cookies=cookie, headers={"Origin": origin}) as answer:
                assert answer.status == 403, origin
    assert served.children() == []


# One console a page


async def test_a_page_is_a_console_attached_to_the_engine_that_runs(served: Served, rows: Any) -> None:
    before = rows.execute("SELECT count(*) AS engines FROM et_engines").fetchone()
    async with page(served) as terminal:
        await shows(terminal, "Passing through")
        await terminal.send_json(["stdin", "3"])
        await shows(terminal, "following")
        await terminal.send_json(["resize", {"width": 50, "height": 12}])
        await shows(terminal, "Switchboard needs")
        assert len(served.children()) == 1
    assert rows.execute("SELECT count(*) AS engines FROM et_engines").fetchone() == before


async def test_a_closed_page_ends_its_console_and_no_other(served: Served) -> None:
    async with page(served) as stays:
        await shows(stays, "Passing through")
        async with page(served) as goes:
            await shows(goes, "Passing through")
            assert len(served.children()) == 2
        await holds(lambda: len(served.children()) == 1, "the console of the closed page still runs")
        await stays.send_json(["stdin", "3"])
        await shows(stays, "following")


async def test_leaving_by_key_closes_the_page(served: Served) -> None:
    async with page(served) as terminal:
        await shows(terminal, "Passing through")
        await terminal.send_json(["stdin", "q"])
        async with asyncio.timeout(PATIENCE):
            while (await terminal.receive()).type not in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED):
                pass
        await holds(lambda: served.children() == [], "its console still runs")


# The end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_ends_the_server_and_every_page_within_five_seconds(
    served: Served, number: signal.Signals
) -> None:
    async with page(served) as terminal:
        await shows(terminal, "Passing through")
        (child,) = served.children()
        served.process.send_signal(number)
        code = await asyncio.to_thread(served.process.wait, 5)
        assert code == 128 + number
        await holds(lambda: not alive(child), "the page's console outlived the server")


async def test_a_killed_server_leaves_no_console_behind(served: Served) -> None:
    async with page(served) as terminal:
        await shows(terminal, "Passing through")
        (child,) = served.children()
        served.process.kill()
        await holds(lambda: not alive(child), "the page's console outlived the server")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
async def test_a_browser_shows_the_console_and_takes_keys(served: Served, tmp_path: Path) -> None:
    async with browser(tmp_path / "profile") as page:

        def written() -> str:
            return SEQUENCE.sub(b"", page.received).decode("utf-8", "replace")

        await page.open(served.address)
        await holds(lambda: "Passing through" in written(), "the page was sent no console")
        assert await page.evaluate("document.body.classList.contains('-first-byte')")
        assert "token" not in await page.evaluate("location.href")
        first = await page.picture()
        await page.press("3")
        await holds(lambda: "following" in written(), "the key did not reach the console")
        await asyncio.sleep(0.5)
        second = await page.picture()
        keep(tmp_path / "browser.png", second)
        assert len(first) > 20_000 and first != second
        assert page.complaints == []
        assert page.hosts == {served.base.removeprefix("http://")}
