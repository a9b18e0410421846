"""Editors: which one, how a browser opens a file in it, and how the App does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from duck.app.editor import BY_COMMAND, COMMANDS, URLS, command_of, editor_of, link_of
from duck.settings.declared.ducksight import EDITORS


def test_every_editor_of_the_setting_can_be_opened_and_no_other() -> None:
    assert {*URLS, *COMMANDS} == set(EDITORS)
    for name in EDITORS:
        link = link_of(name)
        assert link == BY_COMMAND if name in COMMANDS else "{file}" in link and "{line}" in link
    assert link_of("") == link_of("other") == ""


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, ""),
        ({"TERM_PROGRAM": "vscode"}, "vscode"),
        ({"TERM_PROGRAM": "vscode", "CURSOR_TRACE_ID": "x"}, "cursor"),
        ({"ZED_TERM": "true"}, "zed"),
        ({"TERMINAL_EMULATOR": "JetBrains-JediTerm"}, "pycharm"),
        ({"NVIM": "/run/nvim"}, "neovim"),
        ({"EDITOR": "/usr/bin/subl -w"}, "sublime"),
        ({"VISUAL": "code --wait", "EDITOR": "vi"}, "vscode"),
        ({"EDITOR": "nano"}, ""),
    ],
)
def test_the_editor_is_found_by_the_terminal(environ: dict[str, str], name: str) -> None:
    assert editor_of("auto", environ) == name
    assert editor_of("off", environ) == ""
    assert editor_of("zed", environ) == "zed"


@pytest.fixture
def path(tmp_path: Path) -> str:
    for name in ("subl", "gvim", "nvim", "emacsclient"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    return str(tmp_path)


NASTY = "/a b/it's; {line} $(x).py"


def test_a_command_has_each_word_as_one_argument(path: str) -> None:
    environ = {"PATH": path, "NVIM": "/run/nvim.sock"}
    assert command_of("sublime", NASTY, 7, environ) == [f"{path}/subl", f"{NASTY}:7"]
    assert command_of("emacs", NASTY, 0, environ) == [f"{path}/emacsclient", "--no-wait", "+1", NASTY]
    assert command_of("vim", NASTY, 7, environ) == [f"{path}/gvim", "--remote-silent", "+7", NASTY]
    quoted = NASTY.replace("'", "''")
    assert command_of("neovim", NASTY, 7, environ)[1:] == [
        "--server",
        "/run/nvim.sock",
        "--remote-expr",
        f"execute('edit +7 ' .. fnameescape('{quoted}'))",
    ]
    assert command_of("vscode", NASTY, 7, environ) == command_of("", NASTY, 7, environ) == []


def test_what_cannot_be_had_is_said(path: str) -> None:
    with pytest.raises(ValueError, match="subl is not on PATH"):
        command_of("sublime", "/a", 1, {"PATH": os.devnull})
    with pytest.raises(ValueError, match="NVIM_LISTEN_ADDRESS"):
        command_of("neovim", "/a", 1, {"PATH": path})
