"""Connections that are used again: only when the answer was all that came on them.

A far end, or a proxy before it, that sends more than one answer leaves the rest in the connection's buffer, where
it would be taken for the answer to the next request: another customer's.
"""

from __future__ import annotations

from typing import Any

import httpx

_WITHIN = ("_stream", "_httpcore_stream", "_connection")
"""Where httpx and httpcore keep what they wrap, down to h11's state, which alone knows what is left."""
_DEEPEST = 8


async def close_if_more_came(response: httpx.Response) -> None:
    """To be called once the body has been read: a connection with something left on it is not used again."""
    if _more_came(response.stream) and (stream := response.extensions.get("network_stream")) is not None:
        await stream.aclose()


def _more_came(wrapped: Any) -> bool:
    for _ in range(_DEEPEST):
        state = getattr(wrapped, "_h11_state", None)
        if state is not None:
            return bool(state.trailing_data[0])
        wrapped = next((getattr(wrapped, name) for name in _WITHIN if hasattr(wrapped, name)), None)
    return False
