"""What channels' far ends answer to a send, a poll and a health check: an outcome by the rules, nothing raised."""

from __future__ import annotations

from functools import partial

from engine.channels.base import Channel, PollError, PollingChannel
from tests.channels.cases import CASES, Case
from tests.fuzz.far import written
from tests.fuzz.targets.answers import FarEnd
from tests.fuzz.targets.target import Target, storable
from tests.fuzz.test_channel_answers import ANSWERS, check, check_wait, judgement


class Asked:
    """One account, asked everything it can be asked. Made when it is first needed: it wants an event loop."""

    def __init__(self, case: Case) -> None:
        self.case, self.far = case, FarEnd()
        self.channel: Channel = case.build("http://far.example")
        self.channel._client = self.far.client  # type: ignore[attr-defined]

    def __call__(self, data: bytes) -> None:
        status = self.far.says(data)
        result = self.far.run(judgement(self.case, self.channel))
        check(status, self.case, result)
        self.far.run(self._ask())

    async def _ask(self) -> None:
        health = await self.channel.health()
        assert health.state in {"up", "degraded", "down", "unknown"}
        storable(health)
        if isinstance(self.channel, PollingChannel):
            try:
                polled = await self.channel.poll(None, timeout=0.2)
            except PollError as error:
                check_wait(error)
            else:
                storable([polled.parsed.inbounds, polled.parsed.edits, polled.parsed.quarantined])
                assert polled.next_offset is None or 0 < polled.next_offset <= 2**63


def seeds(name: str) -> list[bytes]:
    bodies = [written(answer) for answer in ANSWERS[name]]
    good = [b"\x00\x00" + body for body in bodies]
    return good + [bytes([status, 0]) + body for status in (8, 9, 17) for body in bodies]


TARGETS = [Target(f"send-{case.name}", Asked(case), partial(seeds, case.name), head=2) for case in CASES]
