"""Duck itself on Python 3.12; a file of its own, for each file is run in one process."""

from pathlib import Path

import pytest

from tests.again.front import LONGEST_S
from tests.again.pythons import run_on


@pytest.mark.timeout(LONGEST_S + 60)
def test_the_tests_of_the_front_pass(tmp_path: Path) -> None:
    run_on("3.12", tmp_path)
