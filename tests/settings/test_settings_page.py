"""The settings as text."""

from __future__ import annotations

from pathlib import Path

import duck
from duck.settings.page import settings_as_comments, settings_page
from duck.settings.schema import NAMES, SECTIONS, SETTINGS

ROOT = Path(duck.__file__).resolve().parents[1]


def test_the_reference_page_is_that_of_the_schema() -> None:
    page = (ROOT / "docs" / "reference" / "settings.md").read_text()
    assert page == settings_page(), "run: python -m duck.settings.page > docs/reference/settings.md"


def test_every_setting_says_what_it_does_in_sentences() -> None:
    for setting in SETTINGS.values():
        assert setting.section in SECTIONS
        assert setting.sentence.endswith("."), setting.name
        assert setting.sentence[0].isupper(), setting.name
    assert len(NAMES) == len(SETTINGS) + sum(len(setting.aliases) for setting in SETTINGS.values())


def test_settings_as_comments_leave_out_what_is_there_and_can_be_uncommented() -> None:
    text = settings_as_comments("\nPORT = 1\n")
    assert "# PORT =" not in text
    lines = [line.removeprefix("# ") for line in text.splitlines() if " = " in line and line[2:3].isupper()]
    values: dict[str, object] = {}
    exec("\n".join(line for line in lines if line.split(" = ")[0] in SETTINGS), values)
    assert values["HEAD_TIMEOUT"] == 30.0
    assert set(SETTINGS) - set(values) == {"PORT", "SETTINGS_MODULE", "BASE_DIR"}
