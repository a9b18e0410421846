"""What commands show of automations: nothing of what a job printed acts upon a terminal, and secrets are nobody's."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from duck.cli import settings as shown_settings
from duck.cli.automations import crontab, runs
from duck.cli.automations.runs import Heard
from duck.cli.automations.shown import took
from duck.services.automations.run import Cause, Run, State
from duck.settings.load import load

OUTPUT = "\x1b[31mred\x1b[0m\r\n\x1b[2J\x1b]52;c;aGk=\x07\tend\n"
RUN = Run(
    7,
    "job",
    "r",
    datetime(2026, 5, 1, tzinfo=UTC),
    Cause.HAND,
    State.FAILED,
    reason="ValueError: a\x1b]0;title\x07\nRun 8 of other succeeded",
    output=OUTPUT,
    printed=len(OUTPUT),
)


class Kept:
    def run(self, run_id: int) -> Run:
        return RUN

    def runs(self, name: str | None, *, limit: int) -> list[Run]:
        return [RUN]


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "load_settings", lambda given: None)
    monkeypatch.setattr(runs, "engine_if_any", lambda settings: Kept())


def said(command: Any, *arguments: str) -> str:
    return CliRunner().invoke(command, arguments, color=True, standalone_mode=False).output


@pytest.mark.parametrize("more", [(), ("--follow",)])
def test_of_its_output_colours_stay_and_nothing_else(more: tuple[str, ...]) -> None:
    text = said(runs.logs, "7", *more)
    assert text.startswith("\x1b[31mred\x1b[0m\n\\x1b[2J\\x1b]52;c;aGk=\\x07\tend\n")


def test_a_reason_is_one_line() -> None:
    lines = said(runs.history).splitlines()
    assert len(lines) == 2 and lines[1].endswith("ValueError: a\\x1b]0;title\\x07 Run 8 of other succeeded")


def test_what_waits_for_another_try_takes_no_time() -> None:
    begun = replace(RUN, state=State.QUEUED, started=datetime(2026, 5, 1, tzinfo=UTC))
    assert took(begun) == ""
    assert took(replace(begun, state=State.FAILED, ended=datetime(2026, 5, 1, 0, 0, 9, tzinfo=UTC))) == "9.0 s"
    assert took(replace(begun, state=State.RUNNING)).endswith(" min")


def test_secrets_of_webhooks_and_variables_of_shells_are_not_among_the_settings(tmp_path: Path) -> None:
    (tmp_path / "duck.toml").write_text('[automations.one]\nshell = "true"\nenv = {KEY = "geheim"}\n')
    settings = load({}, {}, tmp_path)
    assert settings["AUTOMATIONS"]["one"]["env"] == {"KEY": "geheim"}
    assert "geheim" not in json.dumps(shown_settings._as_json(settings, "AUTOMATIONS"))


def test_tables_are_written_behind_secrets_by_a_file_that_is_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "duck.toml"
    target.write_text('[automations.one]\nshell = "true"\n')
    target.chmod(0o640)
    before: list[int] = []
    chmod = Path.chmod

    def seen(path: Path, mode: int) -> None:
        before.append(path.stat().st_mode & 0o777)
        chmod(path, mode)

    monkeypatch.setattr(Path, "chmod", seen)
    crontab._append(target, ['[automations.two]\nshell = "true"\n'])
    assert before == [0o600] and target.stat().st_mode & 0o777 == 0o640
    assert target.read_text().count("[automations.") == 2


def test_who_follows_hears_each_try_once_and_none_of_the_one_before_again() -> None:
    run = Run(7, "job", "r", datetime(2026, 5, 1, tzinfo=UTC), Cause.HAND, State.RUNNING, attempt=1)

    def of(attempt: int, output: str) -> Run:
        return replace(run, attempt=attempt, output=output, printed=len(output))

    heard = Heard(1)
    told = [of(1, ""), of(1, "one\n"), of(1, "one\ntwo\n"), of(1, "one\ntwo\n")]  # and it failed
    told += [of(2, "one\ntwo\n"), of(2, "x\n"), of(2, "x\ny\n"), of(3, "x\ny\n"), of(3, "x\ny\nzzz\n")]
    assert [heard.news(each) for each in told] == [
        *("", "one\n", "two\n", ""),
        *("", "x\n", "y\n", "", "x\ny\nzzz\n"),
    ]
    late = Heard(2)  # came when the second try had printed nothing yet
    assert [late.news(each) for each in (of(2, "one\ntwo\n"), of(2, "x\n"))] == ["one\ntwo\n", "x\n"]
