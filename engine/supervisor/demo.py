"""The demonstration, for those who start it."""

from engine.demo.scenario import Demo, run_headless

__all__ = ["Demo", "run_headless"]
