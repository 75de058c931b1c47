"""A far end on loopback that says whatever it is told to, and the loop in which it is asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from hypothesis import strategies as st

from engine.demo.loopback import LoopbackServer, Reply, Request
from tests.fuzz.mutation import mutated

T = TypeVar("T")
STATUSES = [200, 200, 200, 201, 202, 204, 301, 304, 400, 401, 403, 404, 405, 408, 409, 413, 422, 429, 451]
STATUSES += [500, 502, 503, 504, 520, 599]
WAITS = [None, "7", "0", "-1", "1e300", "inf", "nan", "9" * 12, "9" * 400, "Wed, 21 Oct 2099 07:28:00 GMT"]
WAITS += ["Wed, 99 Oct 99999 07:28:00 GMT", "soon", " 3 ", "0x10"]
NO_JSON = [b"", b"null", b"[]", b"0", b'"ok"', b"<html><title>Just a moment</title>", b"\xff\xfe\x00", b"{"]
NO_JSON += [b"[" * 100_000, b'{"a": ' * 5000, b"1" * 6000, b"\n\n\n", b'{"a": NaN}', b"\x1f\x8b\x08\x00"]
HUGE = b'{"a": "' + b"x" * 5_000_000 + b'"}'


@st.composite
def replies(draw: st.DrawFn, *valid: Any) -> Reply:
    """An answer like one of the `valid` bodies, whole, mutated, cut off or none at all, with any status."""
    bodies = st.one_of(
        mutated(st.sampled_from(valid)).map(written),
        mutated(st.sampled_from(valid)).map(written),
        st.sampled_from(valid).map(written),
        st.sampled_from(valid).map(lambda body: written(body)[:-2]),
        st.sampled_from(NO_JSON),
        st.binary(max_size=40),
    )
    wait = draw(st.sampled_from(WAITS))
    headers = {} if wait is None else {"retry-after": wait}
    kind = draw(st.sampled_from([None, "text/html", "application/json; charset=utf-7"]))
    headers |= {} if kind is None else {"content-type": kind}
    return Reply(draw(st.sampled_from(STATUSES)), draw(bodies), headers)


def written(value: Any) -> bytes:
    try:
        return json.dumps(value).encode()
    except RecursionError:
        return b"[" * 5000


class Far:
    """Answers everything with `reply`."""

    def __init__(self) -> None:
        self.reply = Reply()
        self.asked = 0
        self._server = LoopbackServer(self._answer)
        self._loop = asyncio.new_event_loop()

    @property
    def url(self) -> str:
        return self._server.base_url

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs it to its end, within 10 s."""
        return self._loop.run_until_complete(asyncio.wait_for(work, 10))

    def _answer(self, _: Request) -> Reply:
        self.asked += 1
        return self.reply

    @classmethod
    @contextmanager
    def serving(cls) -> Iterator[Far]:
        far = cls()
        far._server.start()
        try:
            yield far
        finally:
            far._loop.close()
            far._server.stop()
