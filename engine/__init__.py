"""Switchboard's engine: a library, a service and a command line's back. It never imports a terminal."""

__version__ = "0.1.0"
