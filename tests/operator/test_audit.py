"""Who acts and from where, and what happens to an act that the database does not take."""

from __future__ import annotations

import socket

import psycopg
import pytest

from engine.database.connection import transaction
from engine.operator import audit as module
from engine.operator.audit import Operator, ReadOnly, Refused, Uncertain, acting, audit
from tests.operator.world import ANNA, GUEST, World


def test_the_operator_is_who_is_logged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "anna")
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    operator = Operator.current()
    assert operator == Operator("anna", socket.gethostname(), read_only=False)


def test_over_ssh_the_client_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "203.0.113.9 51034 10.0.0.1 22")
    assert Operator.current(name="ben", read_only=True).origin == f"{socket.gethostname()} from 203.0.113.9"


def test_names_cannot_forge_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "\x1b[31mroot\n1.2.3.4 1 2 3")
    operator = Operator.current(name="ev\x1bil\nroot" + "x" * 200)
    for text in (operator.name, operator.origin):
        assert "\n" not in text and "\x1b" not in text and len(text) <= 100


def test_without_a_passwd_entry_there_is_still_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise OSError("no such user")

    monkeypatch.setattr(module.getpass, "getuser", nobody)
    assert Operator.current().name.startswith("uid ")


async def test_the_row_holds_everything(w: World) -> None:
    async with transaction(w.pool) as connection:
        number = await audit(connection, ANNA, "act", "thread:1", {"a": "x\x00y"}, [1, None], "why\x00")
    row = await w.one("SELECT * FROM et_audit_log")
    assert (row["id"], row["actor"], row["origin"], row["act"]) == (
        number,
        "anna",
        "desk from 10.0.0.7",
        "act",
    )
    assert (row["subject"], row["before"], row["after"]) == ("thread:1", {"a": "xy"}, [1, None])
    assert row["note"] == "why"


async def test_the_audit_log_cannot_be_rewritten(w: World) -> None:
    async with transaction(w.pool) as connection:
        await audit(connection, ANNA, "act", "thread:1")
    for statement in (
        "UPDATE et_audit_log SET actor = 'x'",
        "DELETE FROM et_audit_log",
        "TRUNCATE et_audit_log",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await w.query(statement)


async def test_a_guest_leaves_no_row_even_when_an_act_forgets_to_ask(w: World) -> None:
    async def forgetful() -> None:
        async with transaction(w.pool) as connection:
            await connection.execute("UPDATE et_tenants SET name = 'x'")
            await audit(connection, GUEST, "act", "tenant:1")

    with pytest.raises(ReadOnly):
        await forgetful()
    assert await w.audits() == []
    assert (await w.one("SELECT name FROM et_tenants"))["name"] == "Default"


async def test_what_the_database_says_becomes_words_with_a_remedy(w: World) -> None:
    cases = (
        ("SELECT nothing FROM et_threads", Refused, "switchboard migrate"),
        ("SELECT FROM et_nothing", Refused, "switchboard migrate"),
        ("INSERT INTO et_outbound_queue (message_id, outcome) VALUES (1, 'x')", Refused, "refuses it"),
        ("SELECT pg_terminate_backend(pg_backend_pid())", Uncertain, "Look whether"),
    )
    for statement, kind, said in cases:
        with pytest.raises(kind, match=said):
            async with acting(w.pool, ANNA) as connection:
                await connection.execute(statement.encode())
