"""Tests that a document names as proof, as `tests/….py::test_…` or a whole file, and whether they exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PROOF = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def named_in(text: str) -> list[tuple[str, str]]:
    """File and name of each proof, the name empty where a whole file is meant."""
    return sorted(set(_PROOF.findall(text)))


def exists(path: str, name: str) -> bool:
    """Whether there is such a test; in a whole file, any."""
    file = ROOT / path
    if not file.is_file():
        return False
    tests = {
        node.name
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }
    return name in tests if name else bool(tests)
