"""A far end for LLM calls in a process of its own, over TLS on loopback, which speaks HTTP/2 and HTTP/1.1.

    python -m tests.bench.tls_process 0.05 /tmp/folder

Makes its certificate and `ca.pem`, its authority's, in the folder; prints its URL, and ends when its stdin is closed.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trustme
from hypercorn.asyncio import serve
from hypercorn.config import Config

from tests.bench.llm_process import url_of
from tests.bench.past import REPLY
from tests.bench.server import free_port

ANSWER = json.dumps({"choices": [{"message": {"content": REPLY}, "finish_reason": "stop"}]}).encode()
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]
STREAMS = 128
"""What nginx and others allow on a connection."""


@contextmanager
def tls_far_end(seconds: float) -> Iterator[tuple[str, Path]]:
    """Its base URL, and the certificate of the authority it is to be believed by."""
    with (
        tempfile.TemporaryDirectory(prefix="switchboard-bench-") as folder,
        url_of(__name__, str(seconds), folder) as url,
    ):
        yield url, Path(folder) / "ca.pem"


async def answer_all(seconds: float, folder: Path) -> None:
    """Serve until stdin is closed."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "far.pem"))

    async def app(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        await asyncio.sleep(seconds)
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": ANSWER})

    config = Config()
    port = free_port()
    config.bind = [f"127.0.0.1:{port}"]
    config.certfile = config.keyfile = str(folder / "far.pem")
    config.alpn_protocols = ["h2", "http/1.1"]
    config.h2_max_concurrent_streams = STREAMS
    config.keep_alive_max_requests = 10**9
    config.errorlog = None

    async def until_closed() -> None:
        sys.stdout.write(f"https://127.0.0.1:{port}/v1\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)

    await serve(app, config, shutdown_trigger=until_closed)  # type: ignore[arg-type]


if __name__ == "__main__":
    asyncio.run(answer_all(float(sys.argv[1]), Path(sys.argv[2])))
