"""A database's address in the forms that programs take."""

from __future__ import annotations

from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict


def url(dsn: str) -> str:
    """A libpq URL of a conninfo string of a server behind a socket, as DATABASE_URL wants it."""
    parts = conninfo_to_dict(dsn)
    user = quote(str(parts.get("user") or ""), safe="")
    port = f"&port={parts['port']}" if parts.get("port") else ""
    return f"postgresql://{user}@/{parts['dbname']}?host={quote(str(parts['host']), safe='')}{port}"
