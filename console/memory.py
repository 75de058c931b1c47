"""Memory given back to the system, where the C library can (glibc)."""

from __future__ import annotations

from contextlib import suppress

M_ARENA_MAX = -8
"""Of mallopt(3): how many heaps threads may have beside each other."""


def share_one_heap() -> None:
    """Have all threads allocate from one heap: a thread that only opens the session would leave a torn one behind."""
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def give_back() -> None:
    """Hand free pages back: importing takes far more for a moment than what is imported."""
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
