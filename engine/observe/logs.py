"""The log of this process, for those who show it."""

from engine.logs import LogLine, LogRing, configure_logging, get_logger

__all__ = ["LogLine", "LogRing", "configure_logging", "get_logger"]
