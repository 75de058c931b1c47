"""The loopback server stands clients that go away at any moment."""

from __future__ import annotations

import socket
import time

import pytest

from engine.demo.loopback import Fault, LoopbackServer, Reply


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.RESET_HALFWAY, Fault.HEARTBEAT, Fault.TRUNCATE])
@pytest.mark.parametrize("delay", [0.0, 0.05])
def test_a_client_that_is_gone_before_the_fault_is_no_error(
    fault: Fault, delay: float, caplog: pytest.LogCaptureFixture
) -> None:
    with LoopbackServer(lambda _: Reply(body=b"x" * 100, fault=fault, delay=delay)) as server:
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
                if not delay:
                    time.sleep(0.01)
        time.sleep(0.5)
    assert caplog.records == []
