"""The frame around every area: keys, dialogs, the kill switch, and what happens when something fails."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from console.actions import ACTIONS, BY_ID
from console.areas import AREAS
from console.screens.area import AreaScreen
from console.screens.confirm import Confirm
from console.screens.inbox_rows import ThreadList
from console.session import Preferences
from console.widgets.area_tabs import AreaTabs
from console.widgets.footer import KeyBar
from console.widgets.lines import Lines
from console.widgets.status_bar import StatusBar
from console.words import MUTED
from tests.support.consoles import make_app, screen_text, shows, until
from tests.support.seed import Seed


def first_line(pilot: Any) -> str:
    return screen_text(pilot.app).splitlines()[0]


async def test_the_status_bar_says_ready_and_each_area_opens_by_its_key(console: Any) -> None:
    async with console() as pilot:
        await until(pilot, lambda: "● ready" in first_line(pilot), "not ready")
        assert "1 engine" in first_line(pilot)
        for area in AREAS:
            await pilot.press(area.key)
            await until(pilot, lambda area=area: area.id == pilot.app.screen.AREA, f"{area.id} did not open")
            await until(
                pilot,
                lambda area=area: area.title in screen_text(pilot.app).splitlines()[1],
                f"{area.title} is not on its tab",
            )


async def test_every_action_of_an_area_can_be_done_by_its_screen() -> None:
    ids = [action.id for action in ACTIONS]
    assert len(ids) == len(set(ids))
    for area in AREAS:
        screen = area.open()
        assert isinstance(screen, AreaScreen)
        for action in ACTIONS:
            if action.scope == area.id and not action.run:
                assert callable(getattr(screen, f"act_{action.name}", None)), action.id
            assert action.tooltip.endswith("."), action.id


async def test_no_two_actions_of_a_scope_share_a_key() -> None:
    for scope in {action.scope for action in ACTIONS}:
        keys = [key for action in ACTIONS if action.scope == scope for key in action.key.split(",")]
        assert len(keys) == len(set(keys)), scope


async def test_the_kill_switch_is_confirmed_shown_everywhere_and_lifted(console: Any, rows: Any) -> None:
    def stored() -> Any:
        found = rows.execute("SELECT value FROM et_platform_settings WHERE key = 'ai_paused'").fetchone()
        return found and found["value"]

    async with console() as pilot:
        await pilot.press("k")
        await shows(pilot, "Stop the AI everywhere?")
        await pilot.press("enter")
        await until(pilot, lambda: not isinstance(pilot.app.screen, Confirm), "the dialog stayed")
        assert stored() is None
        await pilot.press("tab", "k")  # where it leads up elsewhere
        await shows(pilot, "Stop the AI everywhere?")
        await pilot.press("y")
        await until(pilot, lambda: "AI PAUSED" in first_line(pilot), "the pause was not shown")
        assert stored() is True
        await shows(pilot, "‖ Paused. Nothing is answered")
        told = pilot.app.screen.query_one(StatusBar).render_line(0)
        assert any(s.style and s.style.reverse for s in told if "AI PAUSED" in s.text), "it stands out"
        assert "● Ready" not in screen_text(pilot.app), "paused is not ready"
        await pilot.press("3")
        await until(pilot, lambda: "AI PAUSED" in first_line(pilot), "the pause was not shown in Messages")
        await pilot.press("1", "k")
        await shows(pilot, "Let the AI answer again?")
        await pilot.press("y")
        await until(pilot, lambda: "AI PAUSED" not in first_line(pilot), "the pause stayed on the screen")
        assert stored() is False


async def test_leaving_asks_only_while_an_engine_would_stop(console: Any) -> None:
    class Running:
        def stop(self, timeout: float) -> bool:
            return True

    async with console() as pilot:
        pilot.app.session.engine = Running()
        await pilot.press("q")
        await shows(pilot, "Leave Switchboard?")
        await pilot.press("n")
        await until(pilot, lambda: isinstance(pilot.app.screen, AreaScreen), "the dialog stayed")
        assert pilot.app.return_value is None
        pilot.app.session.engine = None
        await pilot.press("q")
        await until(pilot, lambda: pilot.app.return_value == 0, "q did not leave")


async def test_held_updates_show_nothing_new_until_they_go_on(console: Any, rows: Any) -> None:
    async with console() as pilot:
        await pilot.press("p")
        await until(pilot, lambda: "updates held" in first_line(pilot), "not told")
        rows.execute(
            "INSERT INTO et_messages (tenant_id, channel, direction, text_content, raw_payload, delivery_status)"
            " VALUES (1, 'telegram', 'inbound', 'held back', '{\"from\": \"+449\"}', 'received')"
        )
        await asyncio.sleep(2.5)
        assert "held back" not in screen_text(pilot.app)
        await pilot.press("p")
        await shows(pilot, "held back")


@pytest.mark.parametrize("size", [(59, 40), (140, 15)])
async def test_a_terminal_too_small_says_so_and_refuses_acts(
    console: Any, rows: Any, size: tuple[int, int]
) -> None:
    async with console(size) as pilot:
        await pilot.press("k", "y", "3", "r")
        assert "Switchboard needs 60×16" in screen_text(pilot.app)
        assert rows.execute("SELECT count(*) AS n FROM et_audit_log").fetchone()["n"] == 0
        await pilot.resize_terminal(100, 30)
        await shows(pilot, "Passing through")


async def test_a_failing_worker_is_a_toast_and_the_console_goes_on(
    console: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: Any, pool: Any) -> None:
        raise RuntimeError("planted [b]failure[/b]")

    monkeypatch.setattr("console.screens.messages.MessagesScreen.load", broken)
    async with console() as pilot:
        await pilot.press("3")
        await shows(pilot, "RuntimeError: planted [b]failure[/b]")
        await pilot.press("1")
        await shows(pilot, "Passing through")


async def test_a_lost_database_is_told_and_found_again(console: Any, rows: Any, dsn: str) -> None:
    async with console() as pilot:
        name = rows.execute("SELECT current_database() AS name").fetchone()["name"]
        admin = psycopg.connect(dsn.replace(f"dbname={name}", "dbname=postgres"), autocommit=True)
        with admin:
            admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = %s AND application_name LIKE 'switchboard console%%'", [name]
            )  # fmt: skip
            await until(pilot, lambda: "✗" in first_line(pilot), "the loss was not told")
            assert "Passing through" in screen_text(pilot.app)
            admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())
        await until(pilot, lambda: "● ready" in first_line(pilot), "it was not found again")


async def test_a_database_that_is_down_at_the_start_is_tried_until_it_is_there(
    dsn: str, seed: Seed, rows: Any, tmp_path: Path
) -> None:
    name = rows.execute("SELECT current_database() AS name").fetchone()["name"]
    with psycopg.connect(dsn.replace(f"dbname={name}", "dbname=postgres"), autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
        async with make_app(dsn, tmp_path).run_test(size=(140, 40), notifications=True) as pilot:
            await shows(pilot, "PostgreSQL cannot be reached")
            await pilot.press("k")
            await shows(pilot, "There is no connection to the database yet.")
            admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())
            await shows(pilot, "Passing through")
            await until(pilot, lambda: "● ready" in first_line(pilot), "it did not become ready")


async def test_a_dropped_column_is_a_blocker_and_m_mends_it(console: Any, rows: Any, seed: Seed) -> None:
    async with console() as pilot:
        rows.execute("ALTER TABLE et_messages DROP COLUMN llm_model")
        await until(pilot, lambda: "not ready" in first_line(pilot), "the blocker was not told")
        await shows(pilot, "[m]")
        await pilot.press("m")
        await shows(pilot, "Migrate the schema?")
        await pilot.press("y")
        await shows(pilot, "The schema is what this program needs")
        assert "llm_model" in _columns(rows)
        await until(pilot, lambda: "● ready" in first_line(pilot), "the blocker stayed")


def _columns(rows: Any) -> set[str]:
    found = rows.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'et_messages'"
    )
    return {row["column_name"] for row in found}


async def test_keys_are_remapped_by_the_config_file(console: Any, tmp_path: Path, monkeypatch: Any) -> None:
    config = tmp_path / "switchboard.toml"
    config.write_text(
        '[console]\nthem = "nord"\ntheme = "no-such"\n[console.keys]\n"overview.pause_ai" = "f9"\n"no.such" = "x"\n'
    )
    monkeypatch.setenv("SWITCHBOARD_CONFIG", str(config))
    async with console() as pilot:
        await shows(pilot, "unknown actions: no.such")
        await shows(pilot, "unknown keys: them")
        await shows(pilot, "no theme there is: no-such")
        assert "f9 AI on/off" in screen_text(pilot.app).splitlines()[-1]
        await pilot.press("f9")
        await shows(pilot, "Stop the AI everywhere?")


async def test_help_and_palette_list_the_same_actions(console: Any) -> None:
    async with console((140, 60)) as pilot:
        await pilot.press("question_mark")
        await shows(pilot, "Kill switch: stop")
        await pilot.press("question_mark", "ctrl+p")
        await shows(pilot, BY_ID["overview.pause_ai"].tooltip)
        await pilot.press(
            *"journal" if any(a.id == "journal" for a in AREAS) else "messages", "enter", "enter"
        )
        await until(
            pilot, lambda: getattr(pilot.app.screen, "AREA", "") not in ("", "overview"), "not opened"
        )


async def test_what_cannot_be_done_is_greyed_in_the_footer(console: Any) -> None:
    async with console(read_only=True) as pilot:
        bar = pilot.app.screen.query_one(KeyBar)
        content = bar.lines[0].content
        assert content.plain.startswith("k AI on/off")
        assert content.spans[0].style == MUTED


def test_preferences_are_read_from_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "switchboard.toml"
    path.write_text('[console]\ntheme = "nord"\nkeys = 3\n')
    assert Preferences.read(path).theme == "nord"
    assert Preferences.read(path).keys == {}
    path.write_text("not toml")
    assert Preferences.read(path).theme is None
    assert Preferences.read(None).keys == {}


async def test_one_channel_is_paused_shown_everywhere_and_resumed(console: Any, rows: Any) -> None:
    def paused() -> Any:
        found = rows.execute(
            "SELECT value FROM et_platform_settings WHERE key = 'paused_channels'"
        ).fetchone()
        return found["value"] if found else []

    rows.execute("INSERT INTO et_platform_settings (key, value) VALUES ('paused_channels', '[\"waha\"]')")
    async with console() as pilot:
        await until(pilot, lambda: "AI PAUSED on waha" in first_line(pilot), "the pause was not shown")
        await pilot.press("8")
        await until(pilot, lambda: "AI PAUSED on waha" in first_line(pilot), "not in the Journal")
        await pilot.press("1", "K")
        await shows(pilot, "channel by channel")
        await shows(pilot, "‖ paused    waha")
        await pilot.press("j", "enter")
        await shows(pilot, "Let the AI answer on waha again?")
        await pilot.press("enter")
        assert paused() == ["waha"], "No is the default"
        await pilot.press("K")
        await shows(pilot, "channel by channel")
        await pilot.press("j", "enter")
        await shows(pilot, "Let the AI")
        await pilot.press("y")
        await until(pilot, lambda: paused() == [], "it was not resumed")


@pytest.mark.parametrize("width", [80, 72, 62])
async def test_no_word_of_the_tabs_is_cut_however_narrow_the_terminal_is(console: Any, width: int) -> None:
    whole = {word for area in AREAS for word in (area.title, area.brief, area.key)}
    async with console((width, 24)) as pilot:
        for badges in ((0,) * len(AREAS), (1, 2, 3, 12, 0, 1, 0, 0)):
            pilot.app.screen.query_one(AreaTabs).badges = badges
            await pilot.pause()
            tabs = screen_text(pilot.app).splitlines()[1].rstrip()
            words = tabs.translate(str.maketrans(dict.fromkeys("⁰¹²³⁴⁵⁶⁷⁸⁹"))).split()
            assert set(words) <= whole, tabs
            assert "8" in words, tabs
            assert "Overview" in words, tabs
        if width == 80:
            assert "Log" in words, tabs


async def test_the_cursor_of_overview_is_seen_without_colours(console: Any) -> None:
    async with console() as pilot:
        await pilot.press("tab")
        await until(pilot, lambda: "▌in  " in screen_text(pilot.app), "no mark among the queues")
        await pilot.press("tab")
        await until(pilot, lambda: "▌in  " not in screen_text(pilot.app), "the mark stayed")
        assert "▌" in screen_text(pilot.app), "no mark among the messages"


@pytest.mark.parametrize("width", [60, 80, 140])
async def test_the_way_to_help_and_out_is_in_the_footer_at_any_width(console: Any, width: int) -> None:
    async with console((width, 24)) as pilot:
        for area in AREAS:
            await pilot.press(area.key)
            await until(pilot, lambda area=area: area.id == pilot.app.screen.AREA, f"{area.id} did not open")
            await until(
                pilot,
                lambda: all(w in screen_text(pilot.app).splitlines()[-1] for w in ("? Help", "q Quit")),
                "no way out",
            )
            end = len(screen_text(pilot.app).splitlines()[-1].rstrip())
            assert end <= width


async def test_a_fresh_installation_is_led_to_the_set_up_at_80_columns(console: Any, rows: Any) -> None:
    rows.execute(
        """UPDATE et_engines SET snapshot = jsonb_set(snapshot, '{llm}', %s)""",
        [
            Jsonb(
                [
                    {
                        "name": "uniapi", "kind": "llm", "state": "unconfigured",
                        "blocker": {"code": "llm.unconfigured", "what": "UNIAPI_API_KEY is not set", "where": "uniapi",
                                    "remedy": "Set UNIAPI_API_KEY to a valid API key and restart, or route elsewhere."},
                    }
                ]
            )
        ],
    )  # fmt: skip
    async with console((80, 24)) as pilot:
        await shows(pilot, "→ [7, then s] Set UNIAPI_API_KEY")
        await pilot.press("tab", "enter")
        await until(pilot, lambda: pilot.app.screen.AREA == "settings", "Settings did not open")


@pytest.mark.parametrize("size", [(140, 40), (80, 24)])
async def test_a_pause_of_one_conversation_is_found_from_the_overview(
    console: Any, seed: Seed, rows: Any, size: tuple[int, int]
) -> None:
    paused = seed.threads["waiting"]
    rows.execute("UPDATE et_threads SET paused_at = now() WHERE id = %s", [paused])
    rows.execute("INSERT INTO et_platform_settings (key, value) VALUES ('ai_paused', 'true')")
    async with console(size) as pilot:
        await shows(pilot, "The AI is paused in 1 conversation")
        await pilot.press("k")
        await shows(pilot, "stays paused in 1 conversation")
        await pilot.press("y")
        await shows(pilot, "not where the AI is paused")
        readiness = pilot.app.screen.query_one("#readiness", Lines)
        line = next(line for line in readiness.lines if line.target == ("inbox", "paused"))
        readiness.post_message(Lines.Opened(readiness, line.target))
        await shows(pilot, "/ paused")
        listed = pilot.app.screen.query_one(ThreadList)
        await until(pilot, lambda: [item.row.id for item in listed.rows] == [paused], "others are listed")
