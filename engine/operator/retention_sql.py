"""The statements of retention, by kind.

%(days)s is the age, %(batch)s the rows at most, %(through)s the row up to which earlier runs have come. A batch
returns the rows it is done with, `gone` where something went; `DUE` counts what a run would take, up to %(most)s.
"""

# ruff: noqa: S608 - pieces of our own

from __future__ import annotations

from typing import LiteralString

_AGO: LiteralString = "now() - make_interval(secs => %(days)s * 86400)"
#: Of `raw_payload`: what the trip of a message needs stays; what else the channel told goes.
_NEEDED: LiteralString = "ARRAY['from', 'name', 'kind', 'edited_at', 'operator', 'erased', 'ai_trace']"
_DETAILED: LiteralString = f"""(raw_payload IS NOT NULL AND CASE jsonb_typeof(raw_payload)
           WHEN 'object' THEN raw_payload - {_NEEDED} <> '{{}}' ELSE raw_payload <> '[]' END)"""
_TRACED: LiteralString = "(attempts <> '[]' OR verdicts <> '[]' OR context <> '{}')"
#: Rows after the last run's, the oldest first, up to the first that is young.
_NEXT: LiteralString = f"""
        SELECT * FROM (SELECT n.*, bool_and(at < {_AGO}) OVER (ORDER BY id) AS old
                         FROM (SELECT id, {{columns}} FROM {{table}} WHERE id > %(through)s ORDER BY id
                                LIMIT %(batch)s) n) o WHERE old"""

#: Kinds whose rows have no index of what is left to do; runs go through them once, by id.
STEPWISE = frozenset({"traces", "payloads"})

BATCHES: dict[str, LiteralString] = {
    # Of whole prompts, the turn's own and the one in the reply's trace.
    "prompts": f"""
        WITH old AS (
            SELECT id, reply_message_id FROM (
                SELECT id, reply_message_id, finished_at FROM et_turns
                 WHERE context_prompt IS NOT NULL ORDER BY id LIMIT %(batch)s) t
             WHERE finished_at < {_AGO}),
        traces AS (
            UPDATE et_messages m
               SET raw_payload = jsonb_set(raw_payload, '{{ai_trace,context_prompt}}', 'null')
              FROM old WHERE m.id = old.reply_message_id AND raw_payload #> '{{ai_trace,context_prompt}}' IS NOT NULL)
        UPDATE et_turns t SET context_prompt = NULL FROM old WHERE t.id = old.id RETURNING t.id, true AS gone""",
    # What a turn tried, judged and read, and the trace with its reply. Outcome, tokens, cost and times stay.
    "traces": f"""
        WITH old AS ({_NEXT.format(table="et_turns", columns="reply_message_id, finished_at AS at")}),
        replies AS (
            UPDATE et_messages m SET raw_payload = raw_payload - 'ai_trace'
              FROM old WHERE m.id = old.reply_message_id AND raw_payload ? 'ai_trace' RETURNING m.id),
        turns AS (
            UPDATE et_turns t SET attempts = '[]', verdicts = '[]', context = '{{}}', context_prompt = NULL
              FROM old WHERE t.id = old.id AND {_TRACED} RETURNING t.id)
        SELECT id, id IN (SELECT id FROM turns) OR reply_message_id IN (SELECT id FROM replies) AS gone FROM old""",
    "payloads": f"""
        WITH old AS ({_NEXT.format(table="et_messages", columns="created_at AS at")}),
        trimmed AS (
            UPDATE et_messages m
               SET raw_payload = CASE jsonb_typeof(raw_payload) WHEN 'object' THEN (
                       SELECT coalesce(jsonb_object_agg(key, value), '{{}}') FROM jsonb_each(raw_payload)
                        WHERE key = ANY({_NEEDED})) ELSE '[]' END
              FROM old WHERE m.id = old.id AND {_DETAILED} RETURNING m.id)
        SELECT id, id IN (SELECT id FROM trimmed) AS gone FROM old""",
    "quarantine": f"""
        DELETE FROM et_intake_quarantine WHERE id IN (
            SELECT id FROM et_intake_quarantine WHERE at < {_AGO} ORDER BY id LIMIT %(batch)s)
        RETURNING id, true AS gone""",
    "incidents": f"""
        DELETE FROM et_incidents WHERE id IN (
            SELECT id FROM et_incidents WHERE resolved_at < {_AGO} ORDER BY id LIMIT %(batch)s)
        RETURNING id, true AS gone""",
    "engines": f"""
        DELETE FROM et_engines WHERE name IN (
            SELECT name FROM et_engines WHERE heartbeat_at < {_AGO} ORDER BY heartbeat_at LIMIT %(batch)s)
        RETURNING name AS id, true AS gone""",
    "audit": f"""
        DELETE FROM et_audit_log WHERE id IN (
            SELECT id FROM (SELECT id, at FROM et_audit_log ORDER BY id LIMIT %(batch)s) a WHERE at < {_AGO})
        RETURNING id, true AS gone""",
}


def _due(table: str, at: str, condition: str = "true") -> LiteralString:
    return f"""SELECT count(*) AS due, min(at) AS oldest FROM (
        SELECT {at}::timestamptz AS at FROM {table} WHERE {at} < {_AGO} AND {condition} LIMIT %(most)s) d"""


DUE: dict[str, LiteralString] = {
    "prompts": _due("et_turns", "finished_at", "context_prompt IS NOT NULL"),
    "traces": _due("et_turns", "finished_at", f"id > %(through)s AND {_TRACED}"),
    "payloads": _due("et_messages", "created_at", f"id > %(through)s AND {_DETAILED}"),
    "quarantine": _due("et_intake_quarantine", "at"),
    "incidents": _due("et_incidents", "resolved_at"),
    "engines": _due("et_engines", "heartbeat_at"),
    "audit": _due("et_audit_log", "at"),
}
