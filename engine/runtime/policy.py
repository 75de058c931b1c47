"""What the AI may not do: rules before the call and after it, each with a verdict that is kept.

A rule that blocks sends the message to a person (`inbound_human_takeover`); some also hand the thread over.
"""

from __future__ import annotations

import base64
import codecs
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import chain, islice
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from engine.runtime.context_builder import Said
from engine.runtime.links import hosts, strange

Stage = Literal["before", "after"]

OPT_OUT = re.compile(
    r"\s*(stop|stopp|stop all|unsubscribe|opt[ -]?out|baja|odhl[áÁ]sit|abmelden|d[éÉ]sabonner"
    r"|cancelar suscripci[óÓ]n)\W*",
    re.IGNORECASE,
)
OPT_IN = re.compile(r"\s*(start|unstop|opt[ -]?in|resubscribe)\W*", re.IGNORECASE)
CONSENT = (f"^{OPT_OUT.pattern}$", f"^{OPT_IN.pattern}$")
"""What opts out and in again, for PostgreSQL; case does not count. Both read the patterns alike, but that a database
without a UTF-8 locale takes letters beyond ASCII for signs."""
HUMAN_ASKED = re.compile(
    r"^\W*(human|agent|operator|representative|operátor|mensch|humano|humain)\W*$"
    r"|\b(real|live|actual)\s+(human|person|agent|operator)\b"
    r"|\b(speak|talk|chat|connect me|transfer me|put me through|get me)\b[^.?!\n]{0,40}"
    r"\b(human|person|agent|operator|representative|manager|someone real|a colleague)\b"
    r"|\b(not|don'?t want|no)\b[^.?!\n]{0,15}\b(a |the )?(bot|robot|ai)\b"
    r"|\bhablar con (una persona|un humano|un agente|alguien)\b"
    r"|\b(mit einem|einen) (menschen|mitarbeiter)\b[^.?!\n]{0,30}\b(sprechen|reden)\b"
    r"|\bparler (à|avec) (un humain|une personne|un conseiller|quelqu)"
    r"|\b(mluvit|spojit)\b[^.?!\n]{0,20}\b(člověkem|operátorem)\b"
    r"|\bfalar com (uma pessoa|um humano|um atendente)\b",
    re.IGNORECASE,
)
PERSON = (
    *(
        "huma",
        "mensch",
        "person",
        "pessoa",
        "agent",
        "operator",
        "operátor",
        "represent",
        "manager",
        "someone",
    ),
    *("colleague", "algu", "tarbe", "conse", "quelqu", "člověk", "atendente", "bot", "ai", "aı"),
)
"""Pieces of words, casefolded, one of which every match of `HUMAN_ASKED` holds: found at a tenth of its cost."""
LOOP_WINDOW = timedelta(hours=1)
SAME_TEXT_LIMIT = 3
LEAKED_LETTERS = 64
"""Letters and digits of the instructions in a row that a reply may not repeat, about 80 characters."""


class AgentPolicy(BaseModel):
    """The policy of an agent version (`et_agent_versions.policy`)."""

    model_config = ConfigDict(extra="forbid")

    max_reply_chars: int = Field(1500, ge=20, le=20_000)
    """A longer reply is cut at the end of a sentence."""
    blocked_phrases: list[str] = Field(default_factory=list)
    """A reply that holds one of these, in any case, goes to a person instead."""
    allowed_link_hosts: list[str] | None = None
    """Hosts a reply may link to, subdomains included; those named in the prompt always may. None: only those."""
    human_phrases: list[str] = Field(default_factory=list)
    """More ways in which customers ask for a person."""
    replies_per_hour: int | None = Field(None, ge=1)
    """Loop guard of this agent's threads; None takes the engine's."""


class Verdict(NamedTuple):
    """What a rule said."""

    rule: str
    stage: Stage
    verdict: Literal["pass", "block", "cut"]
    detail: str = ""


def stored(verdict: Verdict) -> str | Mapping[str, str]:
    """A verdict as it is stored: the bare name of a rule that passed, as nearly all do, else all it said."""
    return verdict.rule if verdict.verdict == "pass" else verdict._asdict()


@dataclass(frozen=True)
class Block:
    """A rule forbade the turn: why, and whether the whole thread goes to a person."""

    reason: str
    detail: str
    hand_over: bool = False


@dataclass(frozen=True)
class Situation:
    """What the rules before the call look at."""

    now: datetime
    has_agent: bool
    texts: Sequence[str]
    newest_new: datetime
    """When the last of the new messages came: a burst is as old as the customer's last word."""
    history: Sequence[Said]
    """Newest first."""
    opted_out: bool
    window_hours: float | None
    """Hours after the customer's last message in which the channel lets us answer; None: always."""
    max_age_hours: float | None
    replies: int
    """The AI's own in the thread within `LOOP_WINDOW`."""
    replies_per_hour: int
    human_phrases: Sequence[str]
    last_inbound_at: datetime | None = None
    """When the customer last wrote, where that may be after `newest_new`."""
    for_person: bool = False
    """A person asked for the text and decides about it: what would call one does not block."""


CALLS_A_PERSON = frozenset({"human_requested", "loop_guard"})


def before(situation: Situation) -> tuple[list[Verdict], Block | None]:
    """The rules before the call, in order, until one blocks."""
    verdicts: list[Verdict] = []
    for rule, check in _BEFORE:
        if situation.for_person and rule in CALLS_A_PERSON:
            continue
        block = check(situation)
        verdicts.append(
            Verdict(
                rule=rule,
                stage="before",
                verdict="block" if block else "pass",
                detail=block.detail if block else "",
            )
        )
        if block:
            return verdicts, block
    return verdicts, None


def _no_agent(situation: Situation) -> Block | None:
    if situation.has_agent:
        return None
    return Block("policy.no_agent", "no enabled agent answers for this tenant and channel")


def opt_out_asked(texts: Sequence[str]) -> bool | None:
    """True when the customer asks not to be written to, False when to be written to again, else None."""
    for text in reversed(texts):
        if OPT_OUT.fullmatch(text):
            return True
        if OPT_IN.fullmatch(text):
            return False
    return None


def _opt_out(situation: Situation) -> Block | None:
    asked = opt_out_asked(situation.texts)
    if asked:
        return Block("policy.opt_out", "the customer asked not to be written to")
    if situation.opted_out and asked is None:
        return Block("policy.opt_out", "the customer asked earlier not to be written to")
    return None


def _stale(situation: Situation) -> Block | None:
    age = situation.now - situation.newest_new
    if situation.max_age_hours is None or age <= timedelta(hours=situation.max_age_hours):
        return None
    hours = age.total_seconds() / 3600
    return Block("policy.stale", f"it had waited {hours:.1f} h, longer than {situation.max_age_hours:g} h")


def _window(situation: Situation) -> Block | None:
    newest = max(situation.newest_new, situation.last_inbound_at or situation.newest_new)
    if situation.window_hours is None or situation.now - newest <= timedelta(hours=situation.window_hours):
        return None
    return Block("policy.window", f"the channel's {situation.window_hours:g} h window has closed")


def _human_requested(situation: Situation) -> Block | None:
    for text in situation.texts:
        lowered = text.casefold()
        asked = any(piece in lowered for piece in PERSON) and HUMAN_ASKED.search(text)
        if asked or any(p.casefold() in lowered for p in situation.human_phrases if p):
            return Block("policy.human_requested", "the customer asked for a person", hand_over=True)
    return None


def replies_in(history: Sequence[Said], since: datetime) -> int:
    """How many replies of the AI a history holds since a time."""
    return sum(1 for said in history if said.author == "ai" and said.created_at > since)


def _loop_guard(situation: Situation) -> Block | None:
    if situation.replies >= situation.replies_per_hour:
        told = f"the AI wrote {situation.replies} replies here within an hour"
        return Block("policy.loop_guard", told, hand_over=True)
    theirs = (said.text.strip() for said in situation.history if said.author == "customer")
    recent = list(islice(chain(reversed(situation.texts), theirs), SAME_TEXT_LIMIT + 1))
    if len(recent) > SAME_TEXT_LIMIT and len({text.strip() for text in recent}) == 1 and len(recent[0]) > 20:
        return Block(
            "policy.loop_guard", "the same long text came over and over: a machine writes", hand_over=True
        )
    return None


_BEFORE = (
    ("opt_out", _opt_out),
    ("no_agent", _no_agent),
    ("human_requested", _human_requested),
    ("stale", _stale),
    ("window", _window),
    ("loop_guard", _loop_guard),
)


def after(
    text: str, *, policy: AgentPolicy, canary: str, prompt: str
) -> tuple[str, list[Verdict], Block | None]:
    """The rules after the call: the text to send, verdicts, and the block if one forbids sending it."""
    verdicts: list[Verdict] = []
    for rule, block in (
        ("empty", None if text.strip() else Block("policy.empty", "the model said nothing")),
        ("canary", _leak(text, canary, prompt)),
        ("blocked_phrase", _blocked_phrase(text, policy)),
        ("links", _links(text, policy, prompt)),
    ):
        said = Verdict(rule, "after", "block", block.detail) if block else Verdict(rule, "after", "pass")
        verdicts.append(said)
        if block:
            return text, verdicts, block
    shortened = cut_at_sentence(text.strip(), policy.max_reply_chars)
    cut = len(text.strip()) - len(shortened)
    verdicts.append(
        Verdict(
            rule="length",
            stage="after",
            verdict="cut" if cut else "pass",
            detail=f"{cut} characters beyond {policy.max_reply_chars} were left out" if cut else "",
        )
    )
    return shortened, verdicts, None


def _leak(text: str, canary: str, prompt: str) -> Block | None:
    if _repeats(text, canary):
        return Block("policy.canary", "the reply repeats the internal reference", hand_over=True)
    if len(text) < LEAKED_LETTERS:
        return None
    squeezed = _letters(text)
    if any(excerpt in squeezed for excerpt in _excerpts(prompt)):
        return Block("policy.canary", "the reply repeats the agent's instructions", hand_over=True)
    return None


def _repeats(text: str, canary: str) -> bool:
    """Whether the canary is in `text` as it is, spelled out, backwards, in base64, in hex or in ROT13."""
    if any(form in text for form in _encoded(canary)):
        return True
    plain, letters = _letters(canary), _letters(text)
    return any(form in letters for form in (plain, plain[::-1], codecs.encode(plain, "rot13")))


@lru_cache(maxsize=256)
def _encoded(canary: str) -> tuple[str, ...]:
    """The canary in hex, and in base64 at each of the three places in which it may stand."""
    raw = canary.encode()
    shifted = (base64.b64encode(b"\0" * skipped + raw)[-(-skipped * 8 // 6) :] for skipped in range(3))
    whole = (form.rstrip(b"=")[:-1].decode() for form in shifted)  # the last may hold bits of what follows
    return (raw.hex(), *whole)


@lru_cache(maxsize=64)
def _letters(text: str) -> str:
    """Letters and digits alone, of one case and width: what is left however it is spelled out."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold()))


@lru_cache(maxsize=256)
def _excerpts(prompt: str) -> tuple[str, ...]:
    """Stretches of the instructions, one of which any longer repetition of them holds."""
    instructions = _letters(prompt)
    starts = range(0, len(instructions) - LEAKED_LETTERS + 1, 16)
    return tuple(instructions[start : start + LEAKED_LETTERS] for start in starts)


def _blocked_phrase(text: str, policy: AgentPolicy) -> Block | None:
    lowered = text.casefold()
    for phrase in policy.blocked_phrases:
        if phrase and phrase.casefold() in lowered:
            return Block("policy.blocked_phrase", f"the reply holds the blocked phrase “{phrase}”")
    return None


def _links(text: str, policy: AgentPolicy, prompt: str) -> Block | None:
    if not hosts(text):
        return None
    found = strange(text, [*(policy.allowed_link_hosts or []), *hosts(prompt)])
    return Block("policy.link", f"the reply links to {found}, which is not allowed") if found else None


def cut_at_sentence(text: str, limit: int) -> str:
    """`text` within `limit` characters, ended at a sentence or at least at a word."""
    if len(text) <= limit:
        return text
    head = text[: limit - 1]
    ends = [match.end() for match in re.finditer(r"[.!?…](?=\s|$)", head)]
    if ends and ends[-1] > limit // 2:
        return head[: ends[-1]]
    space = head.rfind(" ")
    return head[: space if space > limit // 2 else len(head)].rstrip() + "…"
