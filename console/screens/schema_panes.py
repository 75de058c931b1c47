"""What the Schema area says, as lines: verdict, blockers, drift, runs and plans."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from textual.content import Content

from console.clock import Clock
from console.sanitise import cell, foreign
from console.screens.migrate import STEPS
from console.widgets.lines import Line, fit, heading
from console.widgets.row_list import RowList
from console.words import BAD, GOOD, HEALTH, KEY, MUTED, STRONG, UNSEEN, WARN, span

if TYPE_CHECKING:
    from engine.model import Blocker
    from engine.observe.health import SystemHealth
    from engine.observe.records import SchemaRun
    from engine.observe.schema import SchemaState
    from engine.supervisor import MigrationRun

MOST_DRIFT = 50


def verdict(state: SchemaState, health: SystemHealth | None) -> list[Line]:
    """Compatible or not, what that was judged by, and what the engines make of it."""
    check = state.check
    if check.compatible:
        first = Content.assemble(("✓ Compatible. ", GOOD), "All that this program needs is there.")
    else:
        number = len(check.blockers)
        first = Content.assemble(
            (f"✗ Not compatible: {number} blocker{'s' if number > 1 else ''}. ", BAD),
            f"Nothing is claimed until {'they are' if number > 1 else 'it is'} gone.",
        )
    if state.applied:
        files = Content.styled(f"Files {state.fingerprint[:8]} are applied.", MUTED)
    else:
        files = Content.assemble((f"Files {state.fingerprint[:8]} are not applied yet", WARN), (" [m]", KEY))
    columns = f"  {len(check.checked_columns)} et_messages columns checked"
    return [Line(first), Line(engines(health)), Line(Content.assemble(files, (columns, MUTED)))]


def engines(health: SystemHealth | None) -> Content:
    """What the engines do meanwhile."""
    if health is None or health.inbound_worker is None:
        return Content.styled("No engine is running; messages wait.", MUTED)
    state = HEALTH.get(health.inbound_worker.state, UNSEEN)
    note = "answers messages." if state.word == "running" else ""
    if state.word == "blocked":
        by_schema = any(blocker.code.startswith("schema.") for blocker in health.blockers)
        note = (
            "goes on by itself within 2 s of a good run."
            if by_schema
            else "not by the schema; 1 says by what."
        )
    return Content.assemble(
        ("Engine ", MUTED),
        (f"{state.glyph} {state.word}", state.style),
        (f" – {note}" if note else "", MUTED),
    )


def trouble(state: SchemaState, width: int) -> list[Line]:
    """Each blocker with what clears it and the key for that; then how else the database differs."""
    lines: list[Line] = []
    for blocker in state.check.blockers:
        lines += blocker_lines(blocker, width)
    if state.check.drift:
        lines += [Line(Content("")), heading("Drift", "works, and is left alone")]
        for drift in state.check.drift[:MOST_DRIFT]:
            lines += wrapped(drift, width, "· ", MUTED)
        if len(state.check.drift) > MOST_DRIFT:
            lines.append(Line(Content.styled(f"… and {len(state.check.drift) - MOST_DRIFT} more", MUTED)))
    return lines


def blocker_lines(blocker: Blocker, width: int) -> Iterator[Line]:
    """What, where, the remedy, and the key: `m` where a run clears it, else Enter, which copies the SQL."""
    what = blocker.what if blocker.where in blocker.what else f"{blocker.what} ({blocker.where})"
    yield from wrapped(what, width, "✗ ", mark_style=BAD)
    run = cleared_by_run(blocker)
    key, target = ("[m]", ("run", None)) if run else ("[enter copies]", ("copy", blocker.remedy))
    first, *rest = wrapped(blocker.remedy, width - len(key) - 1, "  → ", MUTED)
    yield Line(Content.assemble(first.content, (f" {key}", KEY)), target)
    yield from rest


def cleared_by_run(blocker: Blocker) -> bool:
    """Whether the six steps do what its remedy asks for."""
    return "switchboard migrate" in blocker.remedy


def wrapped(text: str, width: int, mark: str = "", style: str = "", *, mark_style: str = "") -> list[Line]:
    """Foreign text over as many lines as it needs."""
    plain = cell(text, limit=1000).plain
    parts = textwrap.wrap(plain, max(20, width - len(mark))) or [""]
    return [
        Line(Content.assemble((mark if at == 0 else " " * len(mark), mark_style or style), (part, style)))
        for at, part in enumerate(parts)
    ]


class RunList(RowList["SchemaRun"]):
    """Runs of the six steps, oldest first."""

    HELP = """\
# Runs
Every run of start-up's six steps: by an engine when it started, by a person, or by command.
The steps of the run under the cursor stand beside it.
"""

    def __init__(self, clock: Clock, *, id: str | None = None) -> None:
        super().__init__(lambda run: run.id, id=id)
        self._clock = clock
        self.empty = Content.styled(" No run is on record.", MUTED)

    def draw(self, row: SchemaRun, width: int) -> Content:
        glyph, word, style = outcome(row)
        return Content.assemble(
            (self._clock.time(row.started_at), MUTED),
            " ",
            (f"{glyph} {word:<9}", style),
            fit(Content.styled(span(took(row)), MUTED), 8, right=True),
            "  ",
            cell(row.actor, limit=60),
        )


def outcome(run: SchemaRun) -> tuple[str, str, str]:
    """How a run ended: glyph, word, style."""
    if not run.ok:
        return "✗", "blocked", BAD
    if all(step.get("status") == "unchanged" for step in run.steps[:5]):
        return "✓", "no change", MUTED
    return "✓", "applied", GOOD


def took(run: SchemaRun) -> float | None:
    """Milliseconds from beginning to end."""
    return (run.finished_at - run.started_at).total_seconds() * 1000 if run.finished_at else None


def run_lines(run: SchemaRun | None, clock: Clock, width: int) -> list[Line]:
    """One run: who and when, each step, and what was left."""
    if run is None:
        return []
    lines = [
        heading(
            f"Run {run.id}",
            Content.assemble((f"{clock.full(run.started_at)[:16]} by ", MUTED), cell(run.actor)),
        ),
    ]
    for step in run.steps:
        lines += _step(step, width)
    for blocker in run.blockers:
        lines += wrapped(str(blocker.get("what", "")), width, "✗ ", BAD)
    if run.drift:
        lines.append(Line(Content.styled(f"{len(run.drift)} differences left alone", MUTED)))
    lines.append(Line(Content.styled(f"files {cell(run.fingerprint, limit=20).plain}", MUTED)))
    return lines


def _step(step: dict[str, Any], width: int) -> list[Line]:
    look = STEPS.get(str(step.get("status")), STEPS["planned"])
    ms = step.get("ms")
    note = (
        "no change" if step.get("status") == "unchanged" else span(ms) if isinstance(ms, float) else look.word
    )
    name = fit(cell(str(step.get("name", "?")), limit=40), 22)
    room = min(14, width - 24)
    line = Line(
        Content.assemble(
            (f"{look.glyph} ", look.style), name, fit(Content.styled(note, MUTED), room, right=True)
        )
    )
    return [line, *(wrapped(str(step["error"]), width, "    ", BAD) if step.get("error") else [])]


def plan_text(plan: MigrationRun) -> Content:
    """The six steps as headings, each with its exact SQL."""
    parts: list[Content] = []
    if not plan.changed:
        parts.append(
            Content.assemble(
                ("✓ Nothing is to be done. ", GOOD),
                "The files of the last good run are these, and the check finds nothing missing.\n",
            )
        )
    for step in plan.steps:
        parts.append(Content.styled(f"{step.name}", STRONG))
        if step.status == "unchanged":
            parts.append(Content.styled("✓ nothing to do\n", MUTED))
        elif not step.statements:
            parts.append(Content.styled("✓ nothing is missing\n", MUTED))
        else:
            parts += [Content.assemble(foreign(sql.rstrip(";")), ";\n") for sql in step.statements]
    for line in plan.drift:
        parts.append(cell(f"· {line}", MUTED, 400))
    return Content("\n").join(parts)


def plan_title(plan: MigrationRun, place: str) -> Content:
    """How much there is to it."""
    statements = sum(len(step.statements) for step in plan.steps[:5])
    what = f"{statements} statements" if plan.changed else "nothing to do"
    return Content.assemble(
        ("Migration plan ", STRONG), (f"{what} · nothing has been changed · ", MUTED), cell(place, MUTED, 60)
    )


def blockers_now(state: SchemaState | None) -> str:
    """How many blockers there are, as a sentence; before the first look, that it is not known."""
    if state is None:
        return "Whether there is a blocker is not known yet."
    count = len(state.check.blockers)
    return {0: "There is no blocker now.", 1: "There is 1 blocker now."}.get(
        count, f"There are {count} blockers now."
    )
