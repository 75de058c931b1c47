"""Figures against their goals, as a table."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path


@dataclass
class Figure:
    """One line of the table: the median of what the repetitions gave, and the goal."""

    part: str
    name: str
    values: Sequence[float]
    unit: str = ""
    least: float | None = None
    """The goal, where more is better."""
    most: float | None = None
    """The goal, where less is better."""
    notes: list[str] = field(default_factory=list)

    @property
    def value(self) -> float:
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        if self.least is not None:
            return self.value >= self.least
        if self.most is not None:
            return self.value <= self.most
        return None

    @property
    def goal(self) -> str:
        if self.least is not None:
            return f"≥ {number(self.least)} {self.unit}".strip()
        if self.most is not None:
            return f"≤ {number(self.most)} {self.unit}".strip()
        return ""


def number(value: float) -> str:
    """As many digits as mean something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(figures: Sequence[Figure]) -> str:
    """Markdown."""
    lines = ["| part | figure | median | range | goal | |", "|---|---|---|---|---|---|"]
    for figure in figures:
        spread = (
            f"{number(min(figure.values))} – {number(max(figure.values))}" if len(figure.values) > 1 else ""
        )
        met = {True: "met", False: "**missed**", None: ""}[figure.met]
        lines.append(
            f"| {figure.part} | {figure.name} | {number(figure.value)} {figure.unit} | {spread} "
            f"| {figure.goal} | {met} |"
        )
        lines += [f"| | {note} | | | | |" for note in figure.notes]
    return "\n".join(lines)


def machine(postgres: str) -> str:
    """What this was measured on."""
    cpu = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return (
        f"{os.cpu_count()} cores ({cpu}), {pages:.0f} GiB, {platform.system()} {platform.release()}; "
        f"{postgres}, default settings, synchronous_commit on; Python {platform.python_version()}, "
        f"psycopg {version('psycopg')}, switchboard {version('switchboard')}"
    )
