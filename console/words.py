"""How states, times, money and counts are shown: one glyph, one word and one colour for each, everywhere.

A state is never colour alone. The words are short for lists; details show the stored status itself.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Styles of text, by the component classes that `app.tcss` gives their colours.
MUTED = ".muted"
STRONG = ".strong"
GOOD = ".good"
WARN = ".warn"
BAD = ".bad"
BUSY = ".busy"
KEY = ".key"
STOPPED = "$text-warning bold reverse"
"""Told where nobody may overlook it; a class of the style sheet would lose the reverse."""
HIT = "bold underline"
"""What was searched for, where it stands in a text."""
LOOKS = ("muted", "strong", "good", "warn", "bad", "busy", "key", "gone", "came", "tab--chosen")
"""To be among the COMPONENT_CLASSES of every screen, and of widgets that draw much."""


@dataclass(frozen=True, slots=True)
class Look:
    """A state as it is shown."""

    glyph: str
    word: str
    style: str


UNSEEN = Look("·", "?", MUTED)

INBOUND: dict[str, Look] = {
    "received": Look("○", "waiting", ""),
    "inbound_processing": Look("◐", "thinking", BUSY),
    "inbound_ai_replied": Look("✓", "answered", GOOD),
    "inbound_human_takeover": Look("◆", "person", WARN),
    "inbound_error": Look("✗", "error", BAD),
}
OUTBOUND: dict[str, Look] = {
    "queued": Look("○", "queued", ""),
    "processing": Look("◐", "sending", BUSY),
    "sent": Look("✓", "sent", GOOD),
    "accepted": Look("✓", "accepted", GOOD),
    "retry_scheduled": Look("↻", "retry", WARN),
    "failed": Look("✗", "failed", BAD),
}
OUTCOME: dict[str, Look] = {
    "unknown": Look("?", "unknown", BAD),
    "cancelled": Look("⊘", "cancelled", MUTED),
    "rejected": Look("✗", "rejected", BAD),
    "confirmed": Look("✓", "confirmed", GOOD),
}
HEALTH: dict[str, Look] = {
    "up": Look("●", "up", GOOD),
    "degraded": Look("◐", "degraded", WARN),
    "down": Look("✗", "down", BAD),
    "unconfigured": Look("○", "not set up", MUTED),
    "unknown": Look("○", "not heard of", MUTED),
    # of an engine's worker and dispatcher
    "running": Look("●", "running", GOOD),
    "starting": Look("◐", "starting", BUSY),
    "stopping": Look("◐", "stopping", WARN),
    "paused": Look("‖", "paused", WARN),
    "blocked": Look("✗", "blocked", BAD),
}


def look(status: str, outcome: str | None = None) -> Look:
    """The look of a message's or a send's status; a failed send's outcome says more than its status."""
    if status == "failed" and outcome in OUTCOME and outcome != "rejected":
        return OUTCOME[outcome]
    return INBOUND.get(status) or OUTBOUND.get(status) or UNSEEN


def count(number: int, more: bool = False) -> str:
    """A count with thousands marked; `more` when it is only a lower bound."""
    return f"{number:,}{'+' if more else ''}"


def short(number: float) -> str:
    """A large number in at most five cells: 812, 9.8k, 812k, 1.2M."""
    for bound, divisor, unit in ((1e3, 1, ""), (1e6, 1e3, "k"), (1e9, 1e6, "M"), (1e12, 1e9, "G")):
        if number < bound * 0.9995:
            scaled = number / divisor
            return f"{scaled:.1f}{unit}" if unit and scaled < 10 else f"{scaled:.0f}{unit}"
    return f"{number:.0e}"


def age(seconds: float | None) -> str:
    """A span in its one or two largest units: 4s, 12m, 3h 05m, 2d 4h."""
    if seconds is None:
        return ""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m"
    if whole < 86_400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d {whole % 86_400 // 3600}h"


def span(ms: float | None) -> str:
    """A duration: 14 ms, 1.24 s, 3m 20s, 6h 28m, 3d 4h."""
    if ms is None:
        return ""
    if ms < 1000:
        return f"{ms:.0f} ms"
    if ms < 60_000:
        return f"{ms / 1000:.2f} s"
    minutes, seconds = divmod(round(ms / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes}m {seconds:02}s"
    return f"{hours}h {minutes:02}m" if hours < 48 else f"{hours // 24}d {hours % 24}h"


def usd(amount: float | None) -> str:
    """US dollars: cents of a dollar and above, else as many places as it takes to see them."""
    if amount is None:
        return "–"
    return f"${amount:,.2f}" if amount >= 1 or amount == 0 else f"${amount:.4f}"


BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: list[float], width: int) -> str:
    """The last `width` values as bars, lowest to highest; zero is a dot, and what stands still a flat line."""
    values = values[-width:]
    low, top = min(values, default=0), max(values, default=0)
    steps = 7.999 / (top - low) if top > low else 0
    bars = ("·" if value <= 0 else BARS[int((value - low) * steps)] for value in values)
    return "".join(bars).rjust(width, "·")


def gauge(share: float, width: int) -> str:
    """A share of one as a bar; anything above nothing shows."""
    filled = min(width, max(int(share * width), 1 if share > 0 else 0))
    return "━" * filled + "─" * (width - filled)
