"""Themes: a calm dark and light one of ours, Textual's, and the terminal's own colours."""

from __future__ import annotations

import os

from textual.theme import Theme

DARK = Theme(
    name="switchboard-dark",
    primary="#6CB6FF",
    secondary="#8DA4BF",
    accent="#E3B778",
    success="#7FC98A",
    warning="#E8B04B",
    error="#F47A7A",
    foreground="#D7DCE2",
    background="#101418",
    surface="#151A20",
    panel="#1C232B",
    dark=True,
)
LIGHT = Theme(
    name="switchboard-light",
    primary="#0B63B5",
    secondary="#52677F",
    accent="#8A5A00",
    success="#1E7B34",
    warning="#9A6200",
    error="#B3261E",
    foreground="#1B2229",
    background="#F7F8FA",
    surface="#EEF1F4",
    panel="#E3E8ED",
    dark=False,
)
THEMES = (DARK, LIGHT)


def starting_theme(low_bandwidth: bool) -> tuple[str, bool | None]:
    """The theme to start with, and whether colours are left to the terminal.

    NO_COLOR and low bandwidth use the terminal's own: no colour codes at all, or a fifth of the bytes.
    """
    if os.environ.get("NO_COLOR") is not None or low_bandwidth:
        return "ansi-dark", True
    return DARK.name, None
