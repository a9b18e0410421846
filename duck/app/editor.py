"""Editors: how a browser, or the App for it, opens a file at a line."""

from __future__ import annotations

import shutil
import subprocess
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# Those that a browser reaches by a URL of their own.
URLS: Final = {
    "vscode": "vscode://file{file}:{line}",
    "cursor": "cursor://file{file}:{line}",
    "windsurf": "windsurf://file{file}:{line}",
    "zed": "zed://file{file}:{line}",
    "pycharm": "pycharm://open?file={file}&line={line}",
}
# Those that a command reaches; each word is one argument, and no shell sees it.
COMMANDS: Final = {
    "sublime": ("subl", "{file}:{line}"),
    "vim": ("gvim", "--remote-silent", "+{line}", "{file}"),
    "neovim": ("nvim", "--server", "{server}", "--remote-expr", "execute('edit +{line} ' .. fnameescape({quoted}))"),
    "emacs": ("emacsclient", "--no-wait", "+{line}", "{file}"),
}
BY_COMMAND: Final = "command"

_ENDED_S: Final = 10.0


def editor_of(wanted: str, environ: Mapping[str, str]) -> str:
    """The editor that DUCKSIGHT_EDITOR means, by its name; empty for none.

    `auto` is the one in whose terminal Duck was started, else the one that VISUAL or EDITOR names.
    """
    if wanted != "auto":
        return "" if wanted == "off" else wanted
    if environ.get("TERM_PROGRAM") == "vscode":  # those that are made from it say so too
        if any(name.startswith("CURSOR_") for name in environ):
            return "cursor"
        return "windsurf" if any(name.startswith("WINDSURF_") for name in environ) else "vscode"
    if environ.get("ZED_TERM"):
        return "zed"
    if environ.get("TERMINAL_EMULATOR") == "JetBrains-JediTerm":
        return "pycharm"
    if environ.get("NVIM"):
        return "neovim"
    if environ.get("INSIDE_EMACS"):
        return "emacs"
    words = f"{environ.get('VISUAL', '')} {environ.get('EDITOR', '')}".replace("/", " ").split()
    known = {"code": "vscode", "cursor": "cursor", "windsurf": "windsurf", "zed": "zed", "zeditor": "zed"}
    known |= {"pycharm": "pycharm", "charm": "pycharm", "subl": "sublime", "emacsclient": "emacs", "gvim": "vim"}
    return next((known[word] for word in words if word in known), "")


def link_of(editor: str) -> str:
    """How a browser opens a file: a URL with `{file}` and `{line}`; BY_COMMAND where the App does it; empty for not."""
    return URLS.get(editor, BY_COMMAND if editor in COMMANDS else "")


def command_of(editor: str, file: str, line: int, environ: Mapping[str, str]) -> list[str]:
    """The command that opens `file`, an absolute path; empty where `editor` has none.

    Raises:
        ValueError: it cannot be had, in a sentence.
    """
    words = COMMANDS.get(editor)
    if words is None:
        return []
    program = shutil.which(words[0], path=environ.get("PATH"))
    if program is None:
        raise ValueError(f"{words[0]} is not on PATH; install it, or name another editor with DUCKSIGHT_EDITOR.")
    server = environ.get("NVIM") or environ.get("NVIM_LISTEN_ADDRESS") or ""
    if editor == "neovim" and not server:
        raise ValueError("No Neovim is known: start Duck in a terminal of its, or set NVIM_LISTEN_ADDRESS.")
    quoted = "'" + file.replace("'", "''") + "'"
    values = {"{file}": file, "{line}": str(max(line, 1)), "{server}": server, "{quoted}": quoted}
    return [program, *(_filled(word, values) for word in words[1:])]


def run(command: list[str]) -> None:
    """Start `command`, and wait for its end elsewhere.

    Raises:
        OSError: it cannot be started.
    """
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )

    def wait() -> None:
        try:
            process.wait(_ENDED_S)
        except subprocess.TimeoutExpired:
            pass  # an editor that stays in the foreground is the user's

    threading.Thread(target=wait, name="duck-editor", daemon=True).start()


def _filled(word: str, values: Mapping[str, str]) -> str:
    """`word` with its places filled, each once: what is put in is not looked at again."""
    for place, value in values.items():
        if place in word:
            before, _, after = word.partition(place)
            return _filled(before, values) + value + _filled(after, values)
    return word
