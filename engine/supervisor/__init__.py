"""The engine as a whole: in a thread beside a console, or as a service."""

from engine.database.handle import Database
from engine.database.migrations import MigrationRun, Step, migrate, plan
from engine.supervisor.engine import Engine, new_event_loop
from engine.supervisor.service import run_engine

__all__ = ["Database", "Engine", "MigrationRun", "Step", "migrate", "new_event_loop", "plan", "run_engine"]
