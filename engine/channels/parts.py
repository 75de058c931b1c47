"""Long texts in several messages: where to cut, and what a failure half-way means."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from engine.channels.base import RETRIABLE, Capabilities, Outgoing, SendError, SendFailure, Sent

_BOUNDARIES = ("\n\n", "\n", ". ", "! ", "? ", "… ", "。", "！", "？", "; ", ", ", " ")
"""Where a cut hurts least, best first."""
_PAUSE_SECONDS = 0.5
_JOINING = "\u200d\ufe0f\u20e3"

SendPart = Callable[[Outgoing, int, float], Awaitable[Sent]]
"""Sends one part: the message with the part's text, the part's number from 0, seconds left."""


def split_text(text: str, capabilities: Capabilities) -> list[str]:
    """`text` in parts no longer than the channel takes, cut at a paragraph, sentence or word if possible.

    White space around a cut is dropped; nothing else is. An empty text gives no part.
    """
    parts = []
    rest = text.strip()
    while rest:
        fits = _prefix(rest, capabilities)
        if fits == len(rest):
            parts.append(rest)
            break
        cut = _cut(rest, fits)
        parts.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    return parts


def _prefix(text: str, capabilities: Capabilities) -> int:
    """How many characters of `text` fit into one message."""
    limit = capabilities.max_text
    if capabilities.text_unit == "characters":
        return min(limit, len(text))
    units = 0
    for index, char in enumerate(text[: limit + 1]):
        units += 2 if char > "\uffff" else 1
        if units > limit:
            return max(1, index)
    return len(text[: limit + 1])


def _cut(text: str, fits: int) -> int:
    """The best place to cut within the first `fits` characters; not in their first third."""
    for boundary in _BOUNDARIES:
        found = text.rfind(boundary, fits // 3, fits)
        if found > 0:
            return found + len(boundary)
    cut = fits
    while cut > fits - 16 and cut > 1 and (text[cut] in _JOINING or text[cut - 1] == "\u200d"):
        cut -= 1  # not inside an emoji made of several characters
    return cut


async def send_in_parts(
    outgoing: Outgoing, capabilities: Capabilities, send_part: SendPart, *, timeout: float
) -> Sent:
    """Sends the text, in parts if it is long, within `timeout` seconds.

    The first part's failure is the message's. Once a part is out, the message must not be sent again
    from the start: a later part is retried in the time left, and then the outcome is unknown.
    """
    parts = split_text(outgoing.text, capabilities)
    if not parts:
        raise SendError(SendFailure.PERMANENT, "The message has no text.")
    if parts == [outgoing.text]:
        return await send_part(outgoing, 0, timeout)
    clock = asyncio.get_running_loop().time
    deadline = clock() + timeout
    sent: list[Sent] = []
    for number, text in enumerate(parts):
        part = replace(
            outgoing,
            text=text,
            reply_to=outgoing.reply_to if number == 0 else None,
            last_part=number == len(parts) - 1,
        )
        if number == 0:
            sent.append(await send_part(part, 0, timeout))
            continue
        try:
            sent.append(await _send_later_part(part, number, send_part, deadline))
        except SendError as error:
            told = f"Part {number + 1} of {len(parts)} failed after the earlier went out: {error.message}"
            raise SendError(
                SendFailure.UNKNOWN, told, blocker=error.blocker, code=error.code, sent_ids=_ids(sent)
            ) from None
    last = sent[-1].provider_message_id
    return Sent(
        provider_message_id=last,
        accepted=any(one.accepted for one in sent),
        other_ids=_ids(sent[:-1]),
    )


def _ids(sent: list[Sent]) -> tuple[str, ...]:
    return tuple(one.provider_message_id for one in sent if one.provider_message_id is not None)


async def _send_later_part(part: Outgoing, number: int, send_part: SendPart, deadline: float) -> Sent:
    clock = asyncio.get_running_loop().time
    pause = _PAUSE_SECONDS
    while True:
        left = deadline - clock()
        if left <= 0:
            raise SendError(SendFailure.NOT_SENT, "no time was left.")
        try:
            return await send_part(part, number, left)
        except SendError as error:
            wait = max(pause, error.retry_after or 0.0)
            if error.kind not in RETRIABLE or clock() + wait >= deadline:
                raise
        await asyncio.sleep(wait)
        pause *= 2
