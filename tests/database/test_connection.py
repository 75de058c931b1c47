"""What every connection of ours brings along, whatever DATABASE_URL says."""

from __future__ import annotations

import pytest
from psycopg.conninfo import make_conninfo

from engine.database.connection import connect, open_pool

LIMITS = {
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "30s",
    "timezone": "UTC",
}


@pytest.mark.parametrize("options", ["", "-c statement_timeout=0 -c idle_in_transaction_session_timeout=0"])
async def test_no_statement_and_no_transaction_hangs_for_ever(dsn: str, options: str) -> None:
    given = make_conninfo(dsn, options=options)
    async with await connect(given) as connection:
        for name, limit in LIMITS.items():
            cursor = await connection.execute(f"SHOW {name}".encode())
            assert (await cursor.fetchone() or {}).popitem()[1] == limit
    pool = open_pool(given, size=1)
    await pool.open()
    async with pool.connection() as connection:
        cursor = await connection.execute("SHOW statement_timeout")
        assert (await cursor.fetchone() or {}).popitem()[1] == LIMITS["statement_timeout"]
    await pool.close()
