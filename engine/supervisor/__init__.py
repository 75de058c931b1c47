"""The engine as a whole: in a thread beside a console, or as a service.

Loaded as it is asked for: a command that only opens the database need not load an engine (half its start).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.database.handle import Database
    from engine.database.migrations import MigrationRun, Step, migrate, plan
    from engine.supervisor.engine import Engine, new_event_loop
    from engine.supervisor.service import run_engine
else:
    _HOMES = {
        "Database": "engine.database.handle",
        **dict.fromkeys(("MigrationRun", "Step", "migrate", "plan"), "engine.database.migrations"),
        **dict.fromkeys(("Engine", "new_event_loop"), "engine.supervisor.engine"),
        "run_engine": "engine.supervisor.service",
    }

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)


__all__ = ["Database", "Engine", "MigrationRun", "Step", "migrate", "new_event_loop", "plan", "run_engine"]
