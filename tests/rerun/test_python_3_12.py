"""Duck itself on Python 3.12; a file of its own, for each file is run in one process."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.rerun.front import LONGEST_S, ON_3_12, PARTS
from tests.rerun.pythons import run_on


@PARTS
@pytest.mark.timeout(LONGEST_S + 60)
def test_the_tests_of_the_front_pass(
    suites: Sequence[str], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    run_on("3.12", ON_3_12, suites, tmp_path, record_property)
