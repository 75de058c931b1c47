"""Spans of time, as a sentence tells them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """A span of time in its largest sensible unit."""
    seconds = max(seconds, 0.0)
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 36 * 3600:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} days"
