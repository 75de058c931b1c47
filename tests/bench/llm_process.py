"""A far end for LLM calls in a process of its own, over real HTTP on loopback, that answers after a while.

    python -m tests.bench.llm_process 2.0

Prints its URL, and ends when its stdin is closed.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench.engine_process import ROOT
from tests.bench.past import REPLY


@contextmanager
def far_end(seconds: float) -> Iterator[str]:
    """The base URL of UniAPI's stand-in, which answers every call after so many seconds."""
    with url_of(__name__, str(seconds)) as url:
        yield url


@contextmanager
def url_of(module: str, *arguments: str) -> Iterator[str]:
    """What a far end in a process of its own prints; its stdin is closed afterwards."""
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def main() -> None:
    from engine.demo.far_end import FarEnd

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 8192), most))
    with FarEnd(reply=lambda messages: REPLY, latency_seconds=float(sys.argv[1])) as far:
        sys.stdout.write(far.uniapi_url + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
