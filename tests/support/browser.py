"""A headless Chromium, where one is installed, driven over its own debugging protocol."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SIZE = (1400, 900)


class Page:
    """One page: what its websockets were sent, its keys, its picture."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self.received = b""
        self.hosts: set[str] = set()
        """Of every address the page asked for."""
        self.complaints: list[str] = []
        """What the page's own scripts failed at."""

    async def listen(self) -> None:
        """Take in what the browser tells, until it ends."""
        async for message in self._socket:
            told = message.json()
            if "id" in told:
                self._answers.pop(told["id"]).set_result(told.get("result", told))
                continue
            given = told.get("params", {})
            if told["method"] == "Network.webSocketFrameReceived":
                frame = given["response"]
                self.received += base64.b64decode(frame["payloadData"]) if frame["opcode"] == 2 else b""
            elif told["method"] == "Network.responseReceived":
                self.hosts.add(given["response"]["url"].split("/")[2])
            elif told["method"] == "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(given["exceptionDetails"]))

    async def ask(self, method: str, **given: Any) -> Any:
        """Call a method of the protocol."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": given})
        return await asyncio.wait_for(self._answers[number], 20)

    async def open(self, address: str) -> None:
        for domain in ("Network", "Page", "Runtime"):
            await self.ask(f"{domain}.enable")
        await self.ask("Page.navigate", url=address)

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = await self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    async def press(self, key: str) -> None:
        """Type one printable character into the terminal."""
        await self.evaluate("document.querySelector('.xterm-helper-textarea').focus()")
        await self.ask("Input.dispatchKeyEvent", type="keyDown", key=key, text=key)
        await self.ask("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def picture(self) -> bytes:
        """The page as a PNG."""
        return base64.b64decode((await self.ask("Page.captureScreenshot"))["data"])


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Page]:
    """An empty page in a browser of its own, whose profile is kept in `folder`."""
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
        f"--user-data-dir={folder}", f"--window-size={SIZE[0]},{SIZE[1]}", "about:blank",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | {"HOME": str(folder)}, start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            told = folder / "DevToolsActivePort"
            while not told.exists():  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.1)
        port = told.read_text().split()[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                target = next(t for t in await answer.json() if t["type"] == "page")
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                listening = asyncio.create_task(page.listen())
                yield page
                listening.cancel()
    finally:
        process.kill()
        await process.wait()
