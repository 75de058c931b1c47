"""Nothing that a customer names is fetched: neither a medium's address nor a link in the text."""

from __future__ import annotations

from pathlib import Path

from engine.demo.loopback import LoopbackServer, Reply, Request
from tests.support.trip import trip


def test_no_address_in_a_message_is_opened(dsn: str, tmp_path: Path) -> None:
    opened: list[str] = []

    def answer(request: Request) -> Reply:
        opened.append(request.path)
        return Reply()

    server = LoopbackServer(answer)
    server.start()
    try:
        with trip(dsn, tmp_path) as world:
            world.start()
            url = f"{server.base_url}/secret.jpg"
            media = {"kind": "image", "media": {"url": url}, "image": {"link": url, "url": url}}
            world.until_sent(world.insert(f"what is on {url}?", payload=media))
            assert url in str(world.llm.uniapi.calls[-1].body), "the model reads the words alone"
    finally:
        server.stop()
    assert opened == []
