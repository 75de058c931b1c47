"""What anybody can ask an engine: is it ready?"""

from __future__ import annotations

import time

import httpx

from engine.supervisor import Engine

LATEST_SECONDS = 5.0
"""Within this, a blocker shows at `/api/v1/ready`."""


def ready(engine: Engine) -> bool:
    """The answer of `/api/v1/ready`; silence is no."""
    address = engine.snapshot().http_address
    assert address is not None
    try:
        status = httpx.get(f"http://{address}/api/v1/ready", timeout=LATEST_SECONDS).status_code
    except httpx.HTTPError:
        return False
    assert status in (200, 503)
    return status == 200


def seconds_until(engine: Engine, wanted: bool, most: float) -> float:
    """How long it took until the engine was ready (or was not any more)."""
    began = time.monotonic()
    while time.monotonic() - began < most:
        if ready(engine) == wanted:
            return time.monotonic() - began
        time.sleep(0.1)
    raise AssertionError(f"/api/v1/ready did not become {200 if wanted else 503} within {most} s")
