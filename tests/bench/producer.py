"""Messages coming in: a process that inserts them one a transaction over four connections.

    python -m tests.bench.producer '{"dsn": …, "messages": 2000}'

Prints "ready", begins when a line comes, and prints when it began and ended and the CPU it used.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from typing import Any, NamedTuple

from psycopg import AsyncConnection, AsyncRawCursor

from tests.bench.engine_process import ROOT
from tests.bench.past import INBOUND, RAW

CONNECTIONS = 4
THREADS = 2000
INSERT = """INSERT INTO et_messages (tenant_id, lead_id, channel, direction, text_content, raw_payload, delivery_status)
VALUES (1, $1, 'whatsapp', 'inbound', $2, $3, 'received') RETURNING id"""


class Produced(NamedTuple):
    """Machine time in seconds, and CPU seconds."""

    began: float
    ended: float
    cpu: float


class Producer:
    """The parent's side of it: connected and waiting once it is made."""

    def __init__(self, dsn: str, messages: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, json.dumps({"dsn": dsn, "messages": messages})],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def run(self) -> Produced:
        out, _ = self._process.communicate("go\n", timeout=300)
        return Produced(**json.loads(out))


async def insert_all(config: dict[str, Any]) -> None:
    lines = [await AsyncConnection.connect(config["dsn"], autocommit=True) for _ in range(CONNECTIONS)]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    began, cpu = time.time(), time.process_time()
    numbers = iter(range(config["messages"]))
    raw = json.dumps(RAW)

    async def insert(connection: AsyncConnection[Any]) -> None:
        async with AsyncRawCursor(connection) as cursor:
            for number in numbers:
                text = INBOUND % (10**6 + number)
                await cursor.execute(INSERT, [number % THREADS + 1, text, raw], prepare=True)

    await asyncio.gather(*map(insert, lines))
    sys.stdout.write(json.dumps(Produced(began, time.time(), time.process_time() - cpu)._asdict()) + "\n")
    sys.stdout.flush()
    for connection in lines:
        await connection.close()


def main() -> None:
    from engine.supervisor.engine import new_event_loop

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(insert_all(json.loads(sys.argv[1])))


if __name__ == "__main__":
    main()
