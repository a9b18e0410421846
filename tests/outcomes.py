"""What became of each test, for pytest (`-p tests.outcomes --outcomes FILE`): failures are told whole as they happen.

The file is JSON: the outcome of each test by its node ID, what failed with its text, and what tests left out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

# A property of a test's report: a sentence about what it did not do, and how to have it done.
LEFT_OUT = "left out"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--outcomes", type=Path, help="write what became of each test into this file")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--outcomes")
    # A process of pytest-xdist gives its reports to the first one, which alone has them all.
    if path is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Outcomes(config, path), "outcomes")


class Outcomes:
    """Gathers the reports of a run."""

    def __init__(self, config: pytest.Config, path: Path) -> None:
        self._config = config
        self._path = path
        self._outcomes: dict[str, str] = {}
        self._failures: dict[str, str] = {}
        self._left_out: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One of the three parts of a test: what comes before it, the test, and what comes after."""
        name = report.nodeid
        self._left_out += [str(value) for key, value in report.user_properties if key == LEFT_OUT]
        if report.failed:
            self._outcomes[name] = "failed"
            text = "\n".join([report.longreprtext, *(f"{title}\n{text}" for title, text in report.sections)])
            self._failures[name] = self._failures.get(name, "") + text
            self._tell(f"{name}, {report.when}", text)
        elif report.skipped:
            self._outcomes.setdefault(name, "skipped")
        elif report.when == "call":
            self._outcomes.setdefault(name, "passed")

    def pytest_sessionfinish(self) -> None:
        found = {"outcomes": self._outcomes, "failures": self._failures, "left_out": self._left_out}
        self._path.write_text(json.dumps(found))

    def _tell(self, title: str, text: str) -> None:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_sep("!", f"FAILED {title}")
            reporter.write_line(text)
