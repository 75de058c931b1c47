"""Agents, routing and drafts from the command line: real processes, judged by what they left in the database."""

from __future__ import annotations

import json
import os
import pty
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.demo.far_end import FarEnd
from engine.model import InboundStatus, TurnKind
from tests.support import forks
from tests.support.addresses import url
from tests.support.rows import Connection, Planter, connect
from tests.test_cli import SWITCHBOARD, Shell, assert_one_line, parsed

ROUTING = {"default": [{"provider": "zai", "model": "glm-4.7", "timeout_seconds": 9.0}]}


@pytest.fixture
def rows(dsn: str) -> Connection:
    return connect(dsn)


@pytest.fixture
def far() -> Iterator[FarEnd]:
    with FarEnd(reply=lambda _: "We open at ten.") as running:
        yield running


@pytest.fixture
def shell(tmp_path: Path, dsn: str, far: FarEnd) -> Shell:
    """A shell on a migrated database, with a key and a far end."""
    return Shell(
        tmp_path,
        DATABASE_URL=url(dsn),
        UNIAPI_API_KEY="key",
        UNIAPI_BASE_URL=far.uniapi_url,
        SWITCHBOARD_OPERATOR="anna",
    )


def noted(rows: Connection, act: str) -> list[tuple[str, str | None]]:
    """Who did this, and why."""
    found = rows.execute("SELECT actor, note FROM et_audit_log WHERE act = %s ORDER BY id", [act]).fetchall()
    return [(row["actor"], row["note"]) for row in found]


def active(rows: Connection) -> int:
    row = rows.execute("SELECT active_version FROM et_agents WHERE id = 1").fetchone()
    assert row is not None
    return int(row["active_version"])


# Agents


def test_a_prompt_goes_out_to_a_file_and_comes_back_as_a_version(
    shell: Shell, rows: Connection, tmp_path: Path
) -> None:
    kept = shell("agents", "show", "1", "--prompt").stdout
    (tmp_path / "prompt.txt").write_text(kept + "\nBe brief.\tTabs stay.")
    (tmp_path / "policy.json").write_text('{"max_reply_chars": 200}')
    words = ("agents", "set", "1", "--prompt", "prompt.txt", "--policy", "policy.json", "--reason", "shorter")
    made = parsed(shell(*words, "--json"))
    assert (made["version"], made["active"], made["created_by"], made["note"]) == (2, True, "anna", "shorter")
    row = rows.execute("SELECT * FROM et_agent_versions WHERE agent_id = 1 AND version = 2").fetchone()
    assert row is not None
    assert row["prompt"] == kept + "\nBe brief.\tTabs stay."
    assert row["policy"] == {"max_reply_chars": 200}
    assert noted(rows, "agent.version") == [("anna", "shorter")]
    assert shell("agents", "show", "1", "--prompt").stdout == row["prompt"]

    told = shell("agents", "versions", "1").stdout.splitlines()
    assert "v2" in told[0] and "anna" in told[0] and "shorter" in told[0] and "● active" in told[0]
    diff = shell("agents", "diff", "1", "1", "2").stdout
    assert "+Be brief." in diff and "+policy max_reply_chars 200" in diff
    assert parsed(shell("agents", "diff", "1", "1", "2", "--json"))["policy"] == {
        "max_reply_chars": [None, 200]
    }


def test_an_agent_goes_back_with_a_reason(shell: Shell, rows: Connection) -> None:
    kept = shell("agents", "set", "1", "--prompt", "-", "--inactive", "-r", "try", typed="Be terse.")
    assert kept.returncode == 0, kept.stderr
    assert active(rows) == 1, "it answers nobody yet"
    assert shell("agents", "rollback", "1", "2", "--reason", "it is good").returncode == 0
    assert active(rows) == 2
    assert_one_line(shell("agents", "rollback", "1", "2", "-r", "again"), 1, "active already")
    assert shell("agents", "rollback", "1", "1").returncode == 2, "a reason is asked for"
    done = shell("agents", "rollback", "1", "1", "--reason", "too terse")
    assert (done.returncode, "● active  v1" in done.stdout, active(rows)) == (0, True, 1)
    assert noted(rows, "agent.rollback") == [("anna", "it is good"), ("anna", "too terse")]
    history = shell("agents", "history", "1").stdout.splitlines()
    assert "active_version 1" in history[0] and "too terse" in history[0]


def test_suggest_mode_and_switch(shell: Shell, rows: Connection) -> None:
    assert "drafts, a person sends" in shell("agents", "suggest", "1", "on", "-r", "I read along").stdout
    assert parsed(shell("agents", "list", "--json"))[0]["mode"] == "suggest"
    assert "off" in shell("agents", "enable", "1", "off").stdout
    assert shell("agents", "enable", "1", "on").returncode == 0
    assert shell("agents", "suggest", "1", "off").returncode == 0
    row = rows.execute("SELECT mode, enabled FROM et_agents WHERE id = 1").fetchone()
    assert row == {"mode": "auto", "enabled": True}
    assert noted(rows, "agent.update")[0] == ("anna", "I read along")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("set", "1", "-r", "x"), 2, "Say what is new"),
        (("set", "1", "--prompt", "none.txt", "-r", "x"), 2, "cannot be read"),
        (("set", "1", "--prompt", "empty.txt", "-r", "x"), 1, "The prompt is empty."),
        (("set", "1", "--policy", "bad.json", "-r", "x"), 1, "That is not JSON"),
        (("set", "1", "--routing", "empty.txt", "-r", "x"), 2, "is empty"),
        (("set", "9", "--prompt", "good.txt", "-r", "x"), 1, "Agent 9 does not exist."),
        (("diff", "1", "1", "7"), 1, "Version 7 of agent 1 does not exist."),
        (("suggest", "9", "on"), 1, "Agent 9 does not exist."),
    ],
)
def test_what_cannot_be_done_to_an_agent_says_so(
    shell: Shell, rows: Connection, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "good.txt").write_text("Hello")
    assert_one_line(shell("agents", *arguments), code, said)
    assert rows.execute("SELECT count(*) AS n FROM et_agent_versions").fetchone() == {"n": 1}


# Routing


def test_a_routing_is_set_shown_and_put_back(shell: Shell, rows: Connection, tmp_path: Path) -> None:
    assert "never set" in shell("routing", "show").stdout
    (tmp_path / "routing.json").write_text(json.dumps(ROUTING))
    done = shell("routing", "set", "routing.json", "--reason", "cheaper")
    assert "every task: zai glm-4.7 (timeout 9 s)" in done.stdout, done.stderr
    assert json.loads(shell("routing", "show", "--value").stdout) == ROUTING

    words = ("conversation", "uniapi/gpt-5-mini", "zai/glm-4.7", "--max-tokens", "300")
    told = shell("routing", "task", *words, "--reason", "faster").stdout
    assert "conversation: uniapi gpt-5-mini (at most 300 tokens)" in told
    assert "zai glm-4.7 (timeout 9 s, at most 300 tokens)" in told, "known parameters are kept"
    value = parsed(shell("routing", "show", "--json"))["value"]
    assert value["default"] == ROUTING["default"]

    history = parsed(shell("routing", "history", "--json"))
    assert [(act["actor"], act["note"]) for act in history] == [("anna", "faster"), ("anna", "cheaper")]
    assert shell("routing", "rollback", "--reason", "slower after all").returncode == 0
    assert parsed(shell("routing", "show", "--json"))["value"] == ROUTING
    to = str(history[0]["id"])
    assert shell("routing", "rollback", to, "-r", "no, it was fine").returncode == 0
    assert parsed(shell("routing", "show", "--json"))["value"] == value
    assert shell("routing", "task", "conversation", "--remove", "-r", "default is enough").returncode == 0
    assert parsed(shell("routing", "show", "--json"))["value"] == ROUTING
    assert [note for _, note in noted(rows, "setting.set")][2:] == [
        "slower after all", "no, it was fine", "default is enough"
    ]  # fmt: skip
    assert_one_line(shell("routing", "rollback", "999999", "-r", "x"), 1, "no change #999999")


def test_the_first_routing_is_taken_back_to_the_default(shell: Shell, rows: Connection) -> None:
    assert_one_line(shell("routing", "rollback", "-r", "x"), 1, "never been changed")
    assert shell("routing", "task", "default", "zai/glm-4.7", "-r", "try").returncode == 0
    assert "never set" in shell("routing", "rollback", "-r", "no").stdout
    assert noted(rows, "setting.reset") == [("anna", "no")]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("task", "conversation", "acme/m", "-r", "x"), 1, "provider: one of uniapi, zai"),
        (
            ("task", "conversation", "zai/m", "--timeout", "900", "-r", "x"),
            1,
            "timeout_seconds: seconds, more",
        ),
        (("task", "conversation", "zai", "-r", "x"), 2, "zai is not PROVIDER/MODEL"),
        (("task", "conversation", "zai/m"), 2, "--reason"),
        (("task", "default", "--remove", "-r", "x"), 2, "cannot be removed"),
        (("set", "-", "-r", "x"), 2, "is empty"),
    ],
)
def test_a_routing_that_cannot_be_used_is_refused(
    shell: Shell, rows: Connection, arguments: tuple[str, ...], code: int, said: str
) -> None:
    assert_one_line(shell("routing", *arguments), code, said)
    assert rows.execute("SELECT FROM et_platform_settings WHERE key = 'llm_routing_config'").fetchall() == []


def test_a_test_call_tells_answer_time_tokens_and_cost(shell: Shell, rows: Connection, far: FarEnd) -> None:
    assert shell("routing", "test").returncode == 2, "nobody to ask"
    assert far.uniapi.total == 0
    done = shell("routing", "test", "--yes")
    assert done.returncode == 1, "zai has no key"
    first = done.stdout.splitlines()
    assert any(
        "✓ uniapi/gemini-3-flash-preview" in line and "tokens" in line and "USD" in line for line in first
    )
    assert any("We open at ten." in line for line in first)
    assert any("✗ zai/" in line and "not called" in line for line in first)
    only = '{"default": [{"provider": "uniapi", "model": "gpt-5-mini"}]}'
    (told,) = parsed(shell("routing", "test", "--yes", "--file", "-", "--json", typed=only))
    assert (told["ok"], told["model"], told["answer"]) == (True, "gpt-5-mini", "We open at ten.")
    assert told["prompt_tokens"] > 0 and told["latency_ms"] >= 0 and told["cost_usd"] is not None
    assert len(noted(rows, "routing.test")) == 2


# Drafts


def waiting(rows: Connection, owner: str = "human") -> int:
    """A customer who waits in a conversation of this owner."""
    plant = Planter(rows)
    thread = plant.thread(owner=owner, operator="anna" if owner == "human" else None)
    plant.inbound(InboundStatus.HUMAN_TAKEOVER, thread_id=thread, text_content="when do you open?")
    return thread


def sent(rows: Connection) -> list[str]:
    found = rows.execute("SELECT text_content FROM et_messages WHERE direction = 'outbound' ORDER BY id")
    return [row["text_content"] for row in found.fetchall()]


def test_a_draft_is_asked_for_listed_and_sent_as_it_is(shell: Shell, rows: Connection) -> None:
    assert shell("drafts", "list").stdout == "No draft waits.\n"
    thread = waiting(rows)
    made = parsed(shell("drafts", "ask", str(thread), "--json"))
    assert made["text"] == "We open at ten."
    (listed,) = parsed(shell("drafts", "list", "--json"))
    assert (listed["turn_id"], listed["thread_id"], listed["asked"], listed["text"], listed["stale"]) == (
        made["turn_id"], thread, "when do you open?", "We open at ten.", False
    )  # fmt: skip
    assert sent(rows) == []
    done = shell("drafts", "send", str(made["turn_id"]))
    assert (done.returncode, "is queued as your reply" in done.stdout) == (0, True), done.stderr
    assert sent(rows) == ["We open at ten."]
    assert_one_line(shell("drafts", "send", str(made["turn_id"])), 1, "was sent as message")
    assert shell("drafts", "list", "--thread", str(thread)).stdout == "No draft waits.\n"
    assert [actor for actor, _ in noted(rows, "draft.accept")] == ["anna"]


def test_a_draft_is_changed_and_sent_or_put_away(shell: Shell, rows: Connection, tmp_path: Path) -> None:
    first, second = waiting(rows), waiting(rows)
    turns = [parsed(shell("drafts", "ask", str(thread), "--json"))["turn_id"] for thread in (first, second)]
    assert {draft["turn_id"] for draft in parsed(shell("drafts", "list", "--json"))} == set(turns)
    assert shell("drafts", "send", str(turns[0]), "--text", "At nine!").returncode == 0
    assert sent(rows) == ["At nine!"]
    assert_one_line(shell("drafts", "send", str(turns[1]), "--edit"), 2, "needs a terminal")
    assert "is put away" in shell("drafts", "discard", str(turns[1])).stdout
    assert_one_line(shell("drafts", "discard", str(turns[1])), 1, "no draft that waits")
    assert_one_line(shell("drafts", "send", str(turns[1])), 1, "was discarded")
    assert sent(rows) == ["At nine!"]


@pytest.mark.parametrize(("editor", "code"), [("sed -i s/ten/noon/", 0), ("true", 2), ("no-such-editor", 2)])
def test_a_draft_goes_through_the_editor(shell: Shell, rows: Connection, editor: str, code: int) -> None:
    turn = parsed(shell("drafts", "ask", str(waiting(rows)), "--json"))["turn_id"]
    ours, theirs = pty.openpty()
    try:
        command = [SWITCHBOARD, "drafts", "send", str(turn), "--edit"]
        there = shell.environment | {"EDITOR": editor, "VISUAL": ""}
        done = forks.run(command, cwd=shell.folder, env=there, stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == code, done
    assert sent(rows) == (["We open at noon."] if code == 0 else [])


def test_the_ai_drafts_only_where_a_person_answers(shell: Shell, rows: Connection, far: FarEnd) -> None:
    thread = Planter(rows).thread()
    assert_one_line(shell("drafts", "ask", str(thread)), 1, "Nobody waits for an answer")
    assert far.uniapi.total == 0
    assert "only drafts" in shell("drafts", "mode", str(thread), "suggest").stdout
    assert "by itself" in shell("drafts", "mode", str(thread), "auto").stdout
    assert parsed(shell("drafts", "mode", str(thread), "agent", "--json")) == {
        "thread_id": thread,
        "mode": None,
    }
    changes = rows.execute("SELECT after FROM et_audit_log WHERE act = 'thread.mode' ORDER BY id").fetchall()
    assert [row["after"]["mode"] for row in changes] == ["suggest", "auto", None]


def test_a_listed_draft_cannot_drive_the_terminal(shell: Shell, rows: Connection) -> None:
    turn = parsed(shell("drafts", "ask", str(waiting(rows)), "--json"))["turn_id"]
    rows.execute("UPDATE et_turns SET draft = %s WHERE id = %s", ["\x1b]0;pwned\x07hi\u202e", turn])
    for arguments in (("drafts", "list"), ("drafts", "list", "--json")):
        assert not {"\x1b", "\x07", "\u202e"} & set(shell(*arguments).stdout)
    kinds = rows.execute("SELECT kind FROM et_turns WHERE id = %s", [turn]).fetchone()
    assert kinds == {"kind": TurnKind.DRAFT.value}


# What-if


def answered(shell: Shell, rows: Connection, count: int) -> list[int]:
    """So many messages with an answer, each in a conversation of its own."""
    plant = Planter(rows)
    return [plant.inbound(InboundStatus.AI_REPLIED, thread_id=plant.thread()) for _ in range(count)]


def test_a_filter_is_tried_with_a_prompt_and_a_route_of_a_file(
    shell: Shell, rows: Connection, far: FarEnd, tmp_path: Path
) -> None:
    ids = answered(shell, rows, 4)
    (tmp_path / "pirate.txt").write_text("Answer like a pirate.")
    words = (
        "replay",
        "--dry-run",
        "--status",
        "inbound_ai_replied",
        "--since",
        "1d",
        "--prompt",
        "pirate.txt",
    )
    asked = shell(*words, "--route", "uniapi/gpt-5-mini")
    assert (asked.returncode, far.uniapi.total) == (2, 0)
    assert "4 messages" in asked.stderr and "add --yes" in asked.stderr
    done = shell(*words, "--route", "uniapi/gpt-5-mini", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    told = parsed(done)
    assert sorted(result["message_id"] for result in told["results"]) == ids
    assert told["what_if"]["own_prompt"] is True
    assert told["what_if"]["routing"] == {"default": [{"provider": "uniapi", "model": "gpt-5-mini"}]}
    bodies = [call.body for call in far.uniapi.calls]
    assert {body["model"] for body in bodies} == {"gpt-5-mini"}
    assert all(body["messages"][0]["content"].startswith("Answer like a pirate.") for body in bodies)
    assert rows.execute("SELECT FROM et_outbound_queue").fetchall() == []
    assert "version 1 with another prompt and other routes" in shell("what-if", "--list").stdout

    two = shell("replay", "--dry-run", *map(str, ids[:2]), "--yes")
    assert "version 1  2 of 2" in two.stdout, two.stderr


def test_ctrl_c_stops_a_what_if_cleanly_and_it_goes_on(tmp_path: Path, dsn: str, rows: Connection) -> None:
    with FarEnd(reply=lambda _: "Hello", latency_seconds=0.4) as far:
        shell = Shell(tmp_path, DATABASE_URL=url(dsn), UNIAPI_API_KEY="key", UNIAPI_BASE_URL=far.uniapi_url)
        answered(shell, rows, 40)
        with shell.running("what-if", "--agent", "1", "--yes") as process:
            deadline = time.monotonic() + 30
            while not far.uniapi.total and time.monotonic() < deadline:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "--resume 1" in said and "Traceback" not in said
        row = rows.execute("SELECT state FROM et_what_ifs").fetchone()
        assert row == {"state": "paused"}
        kept = rows.execute("SELECT count(*) AS n FROM et_what_if_items WHERE outcome IS NOT NULL").fetchone()
        assert kept is not None and 0 < kept["n"] < 40
        assert kept["n"] == far.uniapi.total, "what was paid for is recorded"
        done = shell("what-if", "--resume", "1", "--json")
        assert (parsed(done)["what_if"]["done"], done.returncode) == (40, 0)
        assert far.uniapi.total == 40, "nothing is paid for twice"
        assert_one_line(shell("what-if", "--cancel", "1"), 1, "is done")


def test_of_several_agents_one_must_be_named(shell: Shell, rows: Connection) -> None:
    rows.execute(
        "INSERT INTO et_agents (tenant_id, workspace_id, name) SELECT 1, workspace_id, 'b' FROM et_agents"
    )
    assert_one_line(shell("what-if", "--route", "zai/glm-4.7", "--yes"), 2, "There are 2 agents")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("what-if", "--route", "gpt-5-mini"), 2, "is not PROVIDER/MODEL"),
        (("what-if", "--route", "acme/m", "--yes"), 1, "acme"),
        (("what-if", "--route", "zai/m", "--routing", "r.json"), 2, "either --routing or --route"),
        (("what-if",), 2, "Say what to try"),
        (("what-if", "--agent", "1", "--list"), 2, "Say what to try"),
        (("replay", "1", "--prompt", "p.txt"), 2, "go with --dry-run"),
        (("replay", "--dry-run", "--status", "sent"), 2, "is not one of"),
    ],
)
def test_what_cannot_be_tried_says_so(
    shell: Shell, rows: Connection, arguments: tuple[str, ...], code: int, said: str
) -> None:
    assert_one_line(shell(*arguments), code, said)
    assert rows.execute("SELECT FROM et_what_ifs").fetchall() == []
