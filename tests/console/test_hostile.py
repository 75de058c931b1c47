"""Foreign text in every other field, some of it huge: nothing of it bends the layout."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.console.test_terminal import HOSTILE, poison
from tests.support.consoles import screen_text
from tests.support.seed import Seed

HUGE = (HOSTILE * (1_000_000 // len(HOSTILE) + 1))[:1_000_000]
SIZES = [(140, 40), (80, 24)]
STATEMENTS = (
    "UPDATE et_agent_versions SET prompt = %(huge)s, note = %(h)s, created_by = %(h)s",
    "UPDATE et_threads SET labels = %(labels)s, snoozed_by = %(h)s",
    "UPDATE et_messages SET text_content = %(huge)s WHERE id IN (SELECT max(id) FROM et_messages GROUP BY thread_id)",
    "UPDATE et_turns SET draft = %(huge)s WHERE id IN (SELECT max(id) FROM et_turns)",
    "UPDATE et_workspaces SET name = %(h)s",
    "INSERT INTO et_notes (thread_id, author, text_content) SELECT id, %(h)s, %(h)s FROM et_threads",
    "INSERT INTO et_notes (thread_id, author, text_content) SELECT max(id), %(h)s, %(huge)s FROM et_threads",
    "INSERT INTO et_canned_replies (tenant_id, shortcut, text_content) VALUES (1, %(h)s, %(huge)s)",
    "INSERT INTO et_platform_settings (key, value, updated_by) VALUES (%(h)s, %(j)s, %(h)s)",
    "INSERT INTO et_audit_log (actor, origin, act, subject, before, after, note)"
    " VALUES (%(h)s, %(h)s, %(h)s, %(h)s, %(j)s, %(j)s, %(h)s)",
    "INSERT INTO et_incidents (rule, subject, what) VALUES (%(h)s, %(h)s, %(h)s)",
    "INSERT INTO et_intake_quarantine (channel, why, body) VALUES (%(h)s, %(h)s, %(huge)s)",
    "INSERT INTO et_channel_accounts (channel, account, state, detail) VALUES (%(h)s, %(h)s, %(h)s, %(h)s)",
    "INSERT INTO et_what_ifs (agent_id, version, filter, note, started_by, state)"
    " VALUES (1, 1, %(h)s, %(h)s, %(h)s, 'paused')",
    "INSERT INTO et_what_if_items (what_if_id, message_id, problem)"
    " SELECT w.id, m.id, %(h)s FROM et_what_ifs w, et_messages m WHERE m.direction = 'inbound'",
)


@pytest.fixture
def poisoned(dsn: str, seed: Seed) -> str:
    poison(dsn)
    values = {"h": HOSTILE, "huge": HUGE, "labels": Jsonb([HOSTILE]), "j": Jsonb({HOSTILE: HOSTILE})}
    with psycopg.connect(dsn, autocommit=True) as connection, connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        for statement in STATEMENTS:
            connection.execute(statement.encode(), values)
    return dsn


@pytest.mark.parametrize("size", SIZES)
async def test_the_layout_stays_whole_in_every_area(
    poisoned: str, console: Callable[..., Any], size: tuple[int, int]
) -> None:
    async with console(size=size) as pilot:
        for area in "23456781":
            await pilot.press(area)
            await pilot.pause(0.4)
            for key in ("", "j", "j", "enter", "escape"):
                if key:
                    await pilot.press(key)
                    await pilot.pause(0.1)
                assert_whole(pilot.app, size)


def assert_whole(app: Any, size: tuple[int, int]) -> None:
    """Every line is as wide as the terminal, by characters whose width terminals agree on."""
    strips = app.screen._compositor.render_strips(app.size)
    assert [strip.cell_length for strip in strips] == [size[0]] * size[1]
    shown = screen_text(app)
    odd = {c for c in shown if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co")}
    odd |= {c for c in shown if "\ufe00" <= c <= "\ufe0f" or c == "\u20e3"}
    assert not odd, f"{odd}: {shown}"
