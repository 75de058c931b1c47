"""The npm package `telegram-test-api`: an emulation of the Telegram Bot API that others wrote, run as it comes.

It is found where npm has it, globally or in a folder named in NODE_PATH:

    npm install --global telegram-test-api
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from typing import Any, Self

import httpx
import pytest

PACKAGE = "telegram-test-api"
START = """
const Server = require("telegram-test-api");
const Class = Server.TelegramServer || Server.default || Server;
new Class({port: Number(process.argv[1]), host: "127.0.0.1"}).start().then(() => console.log("up"));
process.stdin.resume().on("end", () => process.exit(0));
"""
"""Ends with the test, however that ends: its standard input closes."""


def _environment() -> dict[str, str]:
    """With npm's global folder among the places node looks at."""
    asked = ["npm", "root", "--global"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60)
    places = [os.environ.get("NODE_PATH", ""), found.stdout.strip()]
    return os.environ | {"NODE_PATH": os.pathsep.join(filter(None, places))}


class TelegramTestApi:
    """The emulation as a process of its own. Skips the test where it is not installed."""

    def __init__(self, token: str) -> None:
        if not (shutil.which("node") and shutil.which("npm")):
            pytest.skip("node is not installed, so no Bot API of somebody else's can be run")
        self._environment = _environment()
        asked = ["node", "-e", f'require.resolve("{PACKAGE}")']
        if subprocess.run(asked, env=self._environment, capture_output=True, check=False).returncode:
            pytest.skip(f"{PACKAGE} is not installed: npm install --global {PACKAGE}")
        self._token = token
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            ["node", "-e", START, str(self._port)],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == "up"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=10)

    def write(self, text: str, customer: int = 1) -> None:
        """A customer writes to the bot."""
        person = {"id": customer, "first_name": "Anna", "username": "anna", "is_bot": False}
        message = {
            "botToken": self._token,
            "date": int(time.time()),
            "from": person,
            "chat": person | {"type": "private"},
            "text": text,
        }
        self._post("sendMessage", message)

    def history(self) -> list[dict[str, Any]]:
        """All that passed in both directions, the oldest first."""
        return list(self._post("getUpdatesHistory", {"token": self._token}))

    def set_webhook(self, url: str) -> None:
        self._post(f"bot{self._token}/setWebhook", {"url": url})

    def _post(self, method: str, body: dict[str, Any]) -> Any:
        answer = httpx.post(f"{self.base_url}/{method}", json=body, timeout=10).raise_for_status().json()
        assert answer["ok"] is True, answer
        return answer["result"]
