"""Each test that SECURITY.md names as proof exists."""

from __future__ import annotations

import pytest

from tests.support.proofs import ROOT, exists, named_in

PROOFS = named_in((ROOT / "SECURITY.md").read_text())


def test_proofs_are_named() -> None:
    assert len(PROOFS) >= 20


@pytest.mark.parametrize(("path", "name"), PROOFS, ids="::".join)
def test_a_named_proof_exists(path: str, name: str) -> None:
    assert exists(path, name)
