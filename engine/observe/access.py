"""The database for the time of one command, its refusals put into words a person can act on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import psycopg

from engine.database.connection import DatabaseError, Pool, open_pool
from engine.model import SwitchboardError
from engine.text import one_line

POOL_SIZE = 4


@asynccontextmanager
async def pool_at(dsn: str) -> AsyncIterator[Pool]:
    """An open pool, closed at the end. Raises DatabaseError, and SwitchboardError for what is refused."""
    with refusals():
        async with open_pool(dsn, size=POOL_SIZE, application="switchboard command") as pool:
            yield pool


@contextmanager
def refusals() -> Iterator[None]:
    """Turns what the database says into a SwitchboardError with a remedy."""
    try:
        yield
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
        raise SwitchboardError(
            f"The schema is not ready: {_said(error)}.", "Run: switchboard migrate"
        ) from None
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise DatabaseError(f"The database broke off: {_said(error)}.", "Run: switchboard status") from None
    except psycopg.Error as error:
        raise SwitchboardError(f"The database refused: {_said(error)}.", "Run: switchboard doctor") from None


def _said(error: psycopg.Error) -> str:
    return one_line(error.diag.message_primary or str(error))
