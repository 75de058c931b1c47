"""Where an alert goes: a webhook, signed, or a program with the alert on its standard input. Neither gets a secret."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal
from uuid import uuid4

import httpx
from pydantic import BaseModel

from engine.logs import SecretMask
from engine.observe.incidents import targets
from engine.settings import Settings
from engine.text import one_line

TELL_SECONDS = 10.0


class Alert(BaseModel):
    """What is told, as JSON."""

    event: Literal["opened", "resolved", "test"]
    incident: int | None = None
    rule: str
    subject: str
    what: str
    opened_at: datetime
    resolved_at: datetime | None = None


async def tell(settings: Settings, target: str, alert: Alert, *, delivery: str) -> str | None:
    """Tell one target; None when it took it, else why not. Takes up to 10 s, never raises for the far end.

    `delivery` stays the same when it is tried again, so that a receiver can tell a repetition.
    """
    body = SecretMask(settings.secrets())(alert.model_dump_json()).encode()
    match target:
        case "webhook" if settings.alert_webhook_url:
            return await _post(settings, settings.alert_webhook_url, body, delivery)
        case "command" if settings.alert_command:
            return await _run(settings.alert_command, body)
    return f"there is no {target} set on this engine"


async def tell_all(settings: Settings) -> dict[str, str | None]:
    """Tell each target a test alert; by target None when it took it, else why not."""
    alert = Alert(
        event="test",
        rule="test",
        subject="test",
        what="A test alert of Switchboard.",
        opened_at=datetime.now(UTC),
    )
    return {
        name: await tell(settings, name, alert, delivery=f"test-{uuid4().hex[:12]}")
        for name in targets(settings)
    }


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """The value of `X-Switchboard-Signature`: HMAC-SHA256 over `<timestamp>.<body>`."""
    return "sha256=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


async def _post(settings: Settings, url: str, body: bytes, delivery: str) -> str | None:
    timestamp = str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "X-Switchboard-Delivery": delivery,
        "X-Switchboard-Timestamp": timestamp,
    }
    if settings.alert_webhook_secret is not None:
        secret = settings.alert_webhook_secret.get_secret_value()
        headers["X-Switchboard-Signature"] = signature(secret, timestamp, body)
    try:
        async with asyncio.timeout(TELL_SECONDS), httpx.AsyncClient(follow_redirects=False) as client:
            answer = await client.post(url, content=body, headers=headers, timeout=TELL_SECONDS)
    except TimeoutError:
        return f"no answer within {TELL_SECONDS:g} s"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return type(error).__name__  # its text may hold the URL, and that a secret
    return None if answer.is_success else f"answered {answer.status_code}"


async def _run(command: list[str], body: bytes) -> str | None:
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment,
        )
    except OSError as error:
        return one_line(f"cannot be run: {error.strerror}", 200)
    try:
        async with asyncio.timeout(TELL_SECONDS):
            await process.communicate(body)
    except TimeoutError:
        return f"did not end within {TELL_SECONDS:g} s"
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return None if process.returncode == 0 else f"ended with {process.returncode}"
