"""Each test that SECURITY.md names as proof exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROOF = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
PROOFS = sorted(set(PROOF.findall((ROOT / "SECURITY.md").read_text())))


def test_proofs_are_named() -> None:
    assert len(PROOFS) >= 20


@pytest.mark.parametrize(("path", "name"), PROOFS, ids="::".join)
def test_a_named_proof_exists(path: str, name: str) -> None:
    file = ROOT / path
    assert file.is_file()
    tests = {
        node.name
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }
    assert (name in tests) if name else tests
