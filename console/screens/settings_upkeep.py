"""What can be done about upkeep in the Settings area: days, thresholds, a run, a backup, a test alert."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import work
from textual.content import Content

from console.screens.ask import Ask
from console.screens.settings_base import SettingsBase
from console.screens.upkeep_panes import KINDS, THROWN_AWAY, Upkeep
from console.words import count

if TYPE_CHECKING:
    from engine.observe.feed import Pool
    from engine.operator.retention import Due

COUNT_EVERY = 15.0
"""Seconds between two counts of what is past its time."""
INCIDENTS = 30


class SettingsUpkeep(SettingsBase):
    """Retention, backup and alerts."""

    def __init__(self) -> None:
        super().__init__()
        self._counted: tuple[float, tuple[Due, ...]] = (0.0, ())
        self._busy = False

    @property
    def _backups(self) -> Path:
        settings = self.switchboard.session.settings
        assert settings is not None
        return settings.data_dir / "backups"

    async def load_upkeep(self, pool: Pool, key: str | None) -> Upkeep:
        """What the panes tell; what is costly to count only for the one that is chosen."""
        from engine.observe.incidents import in_force, incidents, rules, targets
        from engine.observe.records import acts
        from engine.operator.retention import preview

        session = self.switchboard.session
        assert session.settings is not None
        if key == "retention" and time.monotonic() - self._counted[0] > COUNT_EVERY:
            self._counted = (time.monotonic(), tuple(await preview(pool, session.settings)))
        made = await acts(pool, subject="database", act="backup", limit=1)
        return Upkeep(
            due=self._counted[1],
            backup=made[0] if made else None,
            rules=tuple(rules(await in_force(pool, session.settings))),
            targets=tuple(targets(session.settings)),
            incidents=tuple(await incidents(pool, limit=INCIDENTS)),
            embedded=session.embedded,
            throwaway=self.switchboard.demo is not None,
            folder=str(self._backups),
            busy=self._busy,
        )

    def _count_again(self) -> None:
        self._counted = (0.0, self._counted[1])

    def upkeep_subject(self, kind: str) -> Any:
        """What an action on upkeep would act on."""
        match kind, self.chosen:
            case "editable", ("upkeep", "retention" | "alerts"):
                return self.chosen
            case "runnable", ("upkeep", "retention" | "backup"):
                return self.chosen
            case "testable", ("upkeep", "alerts"):
                return self.chosen
        return None

    def _line_of(self, kind: str, first: str) -> str:
        """What the cursor of the detail is on, else the first of its kind."""
        target = self.detail.target()
        return str(target[1]) if isinstance(target, tuple) and target[0] == kind else first

    # Editing

    async def edit_days(self) -> None:
        """How long the kind under the cursor is kept."""
        from engine.operator.configuration import change_setting, check_setting

        kind = self._line_of("kept", next(iter(KINDS)))
        now = next((due.days for due in self._counted[1] if due.kind == kind), 0.0)

        def check(text: str) -> str:
            days = parse_number(text)
            check_setting("retention", {kind: days})
            return kept_words(days)

        how = f"{KINDS[kind]}. Days; 0 for ever; nothing: as engines are told from outside"
        text = await self.app.push_screen_wait(Ask(f"Keep {kind}", how, f"{now:g}", check))
        if text is None:
            return
        days = parse_number(text)
        self._count_again()
        if await self.do(change_setting(*self._hands(), "retention", {kind: days})) is not None:
            self.say(f"{kind}: {kept_words(days)}")

    async def edit_rule(self) -> None:
        """The threshold of the rule under the cursor."""
        from engine.observe.incidents import RULES, in_force, rules
        from engine.operator.configuration import change_setting, check_setting

        settings = self.switchboard.session.settings
        assert settings is not None
        name = self._line_of("rule", RULES[0])
        current = await in_force(self._pool, settings)
        rule = next(rule for rule in rules(current) if rule.name == name)
        field = rule.setting.removeprefix("SWITCHBOARD_ALERT_").lower()
        now = getattr(current, f"alert_{field}")
        if isinstance(now, bool):
            if await self.do(change_setting(*self._hands(), "alerts", {field: not now})) is not None:
                self.say(f"{name}: {'off' if now else 'on'}")
            return

        def check(text: str) -> str:
            value = parse_number(text)
            check_setting("alerts", {field: value})
            return (
                "as engines are told from outside"
                if value is None
                else f"{field} {value:g}"
                if value
                else "off"
            )

        how = {"seconds": "Seconds", "share": "A share, e.g. 0.2", "minutes": "Minutes", "days": "Days"}[
            field.rpartition("_")[2]
        ]
        how += "; 0 switches it off; nothing: as engines are told from outside"
        text = await self.app.push_screen_wait(Ask(f"Alert {name}", how, f"{now:g}", check))
        if text is not None:
            done = await self.do(change_setting(*self._hands(), "alerts", {field: parse_number(text)}))
            if done is not None:
                self.say(f"{name}: {check(text)}")

    # Doing

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_run(self) -> None:
        if self.chosen == ("upkeep", "backup"):
            await self._back_up()
        else:
            await self._retain()

    async def _retain(self) -> None:
        from console.screens.working import Working
        from engine.operator.retention import preview, retain

        pool, operator = self._hands()
        settings = self.switchboard.session.settings
        assert settings is not None
        due = {kept.kind: kept.due for kept in await preview(pool, settings) if kept.due}
        self._count_again()
        if not due:
            self.say("Nothing is past its time.", title="Retention")
            return
        told = ", ".join(f"{count(many)} {kind}" for kind, many in due.items())
        if not await self._confirm(
            f"Let go of {count(sum(due.values()))} records?", f"For good: {told}.", "Let go"
        ):
            return
        done = await self.app.push_screen_wait(
            Working("Letting go", lambda progress: self.do(retain(pool, operator, settings, progress)))
        )
        self._count_again()
        if done is not None:
            gone = ", ".join(f"{count(kept.gone)} {kept.kind}" for kept in done if kept.gone)
            self.say(f"Gone: {gone or 'nothing'}.", title="Retention")

    async def _back_up(self) -> None:
        session = self.switchboard.session
        if self.switchboard.demo is not None:
            self.say(THROWN_AWAY, title="Backup", bad=True)
            return
        if not session.embedded:
            self.say("DATABASE_URL names a PostgreSQL of your own: use pg_dump.", title="Backup", bad=True)
            return
        if self._busy:
            self.say("One is being made already.", title="Backup", bad=True)
            return
        clock = self.switchboard.clock
        file = self._backups / f"switchboard-{clock.local(clock.now()):%Y%m%d-%H%M%S}.backup"
        detail = Content(
            f"{file}\nIt holds customers' messages, and is proven by a restore, which needs as much room."
        )
        if not await self._confirm("Back up the database now?", detail, "Back up"):
            return
        self._make_backup(file)

    @work(exit_on_error=False, group="backup")
    async def _make_backup(self, file: Path) -> None:
        session = self.switchboard.session
        self._busy = True
        try:
            made, failure = await session.back_up(file)
        finally:
            self._busy = False
        if made is None:
            self.say(failure or "", title="No backup was made", bad=True)
        else:
            size = f"{count(made.manifest.rows)} rows, {made.bytes / 1e6:,.1f} MB, {made.seconds:.1f} s"
            self.say(f"{made.file}: {size}, verified.", title="Backed up")
        if session.feed is not None:
            session.feed.wake()

    async def test_alert(self) -> None:
        """A test alert to every target, now."""
        from engine.supervisor.alert_targets import tell_all

        settings = self.switchboard.session.settings
        assert settings is not None
        told = await tell_all(settings)
        self.app.bell()
        problems = {name: problem for name, problem in told.items() if problem}
        for name, problem in problems.items():
            self.say(f"{name}: {problem}", title="Test alert", bad=True)
        good = ["the console", *(name for name in told if name not in problems)]
        self.say(f"Told: {', '.join(good)}.", title="Test alert")


def parse_number(text: str) -> float | None:
    """A number as it is typed; None for nothing. Raises ValueError in words."""
    text = text.strip().removesuffix("days").removesuffix("d").strip()
    try:
        return float(text) if text else None
    except ValueError:
        raise ValueError(f"“{text[:40]}” is not a number.") from None


def kept_words(days: float | None) -> str:
    """How long something is kept."""
    if days is None:
        return "as engines are told from outside"
    return f"{days:g} days" if days else "for ever"
