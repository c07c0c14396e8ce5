"""Every seeded defect can still be seeded, and names tests that exist; whether they catch it is `make defects`."""

import ast

import pytest

from defects.patches import REPOSITORY, Defect, apply, defects

DEFECTS = defects()


def test_there_are_enough_of_them_and_no_two_have_one_number() -> None:
    assert len(DEFECTS) >= 30
    assert len({defect.name.partition("-")[0] for defect in DEFECTS}) == len(DEFECTS)


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_defect_applies_and_names_tests_that_exist(defect: Defect) -> None:
    assert apply(defect, REPOSITORY, "--check") is None
    for test in defect.caught_by:
        file, _, name = test.partition("::")
        functions = ast.walk(ast.parse((REPOSITORY / file).read_text()))
        found = {node.name for node in functions if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert name.partition("[")[0] in found, f"{test} does not exist"
