"""The log of this process, for those who show it."""

from engine.logs import LogLine, LogRing, SecretMask, configure_logging, get_logger

__all__ = ["LogLine", "LogRing", "SecretMask", "configure_logging", "get_logger"]
