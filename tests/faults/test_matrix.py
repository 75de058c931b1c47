"""The table of the fault matrix is whole: every fault has its row, every row a test, and every test exists."""

from __future__ import annotations

import re

import pytest

from tests.support.proofs import ROOT, exists, named_in

TABLE = (ROOT / "tests/faults/README.md").read_text()
ROWS = {int(number): row for number, row in re.findall(r"^\| (\d+) \|(.*)\|$", TABLE, re.MULTILINE)}
FAULTS = 33


def test_every_fault_has_its_row() -> None:
    assert sorted(ROWS) == list(range(1, FAULTS + 1))


@pytest.mark.parametrize("number", ROWS)
def test_the_tests_of_a_row_exist(number: int) -> None:
    proofs = named_in(ROWS[number])
    assert proofs, "a row names its tests"
    assert [proof for proof in proofs if not exists(*proof)] == []
