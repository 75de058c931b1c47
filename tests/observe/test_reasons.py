"""Every reason code that the engine's source can write has words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from engine.channels.base import SendFailure
from engine.model import FailureClass
from engine.observe.reasons import REASONS, reason_of

ROOT = Path(__file__).parents[2]
#: Calls whose first argument is a code, or whose `index`-th is.
POSITIONAL = {"Block": 0, "UnresolvedMessage": 0, "take": 5, "_failed": 1, "rejected": 1}
SQL_SET = re.compile(r"(?<!_)\breason = '([a-z_.]+)'")
SQL_CASE = re.compile(r"(?<!_)\breason = CASE .*?\bEND\b", re.DOTALL)
SQL_CODE = re.compile(r"(?:THEN|ELSE) '([a-z_.]+)'")
#: The database's own column of an alert or an audit, not of a message.
ELSEWHERE = (
    "engine/demo",
    "engine/http",
    "engine/channels",
    "engine/supervisor",
    "engine/observe",
    "engine/llm",
)


def written() -> dict[str, str]:
    """Every code, with where it is written."""
    found = {f"llm.{failure}": "agent_runtime.py" for failure in FailureClass}
    found |= {f"rejected.{failure}": "judge.py" for failure in SendFailure}
    found |= {"unknown.unknown": "dispatcher.py"}
    for path in sorted((ROOT / "engine").rglob("*.py")):
        where = path.relative_to(ROOT).as_posix()
        text = path.read_text()
        if not where.startswith(ELSEWHERE):
            found |= dict.fromkeys(_in_python(ast.parse(text), where), where)
        found |= dict.fromkeys(_in_sql(text), where)
    for path in sorted((ROOT / "sql").rglob("*.sql")):
        found |= dict.fromkeys(_in_sql(path.read_text()), path.name)
    return found


def _in_sql(text: str) -> Iterator[str]:
    yield from SQL_SET.findall(text)
    for case in SQL_CASE.findall(text):
        yield from SQL_CODE.findall(case)


def _in_python(tree: ast.AST, where: str) -> Iterator[str]:
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        values = [k.value for k in call.keywords if k.arg in ("reason", "parked_reason")]
        if name in POSITIONAL and len(call.args) > POSITIONAL[name]:
            values.append(call.args[POSITIONAL[name]])
        if name == "take" and len(call.args) > 4:
            values.append(call.args[4])
        for value in values:
            if isinstance(value, ast.Constant) and isinstance(value.value, str) and " " not in value.value:
                sent = name == "rejected" and where.startswith("engine/outbound")
                yield f"rejected.{value.value}" if sent else value.value


def test_the_source_is_read() -> None:
    found = written()
    assert {
        "policy.budget",
        "policy.canary",
        "suggested",
        "no_sender",
        "empty_message",
        "bad_policy",
        "runtime_error",
        "not_written",
        "database",
        "takeover.phone",
        "takeover.operator",
        "takeover.owned",
        "attempts_exhausted",
        "lease_expired",
        "rejected.no_address",
        "rejected.window_closed",
        "unknown.lease_expired",
        "unknown.restored",
        "receipt.failed",
        "cancelled.takeover",
        "handed_back",
    } <= found.keys()


def test_every_code_has_words() -> None:
    assert {code: where for code, where in written().items() if code not in REASONS} == {}


def test_no_words_for_what_nobody_writes() -> None:
    """Two are kept for records whose send had no class."""
    assert REASONS.keys() - written().keys() <= {"rejected", "unknown"}


def test_words_are_sentences_with_a_next_step() -> None:
    for code, reason in REASONS.items():
        for text in reason:
            assert text.endswith("."), code
            assert text[0].isupper(), code


def test_codes_of_far_ends_and_of_others() -> None:
    assert reason_of("rejected.131047") == REASONS["rejected.permanent"]
    assert reason_of("something.new") is None
    assert reason_of(None) is None
