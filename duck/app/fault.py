"""Faults, as a browser shows them: what is wrong, where, and what mends it. The one place that makes them.

    {"kind", "title", "message", "remedy", "command", "frames", "details", "quiet"}

`kind` is `import`, `syntax`, `template`, `checks`, `migrations` or `error`; `remedy` is `migrate` or empty; `command`
is what somebody has to run in a terminal, or empty; `details` is text without frames, as that of failed checks; what is
`quiet` can wait. A frame has `file`, `shown` (as a reader
knows it), `line`, `function`, `own` (somebody may edit it) and `source`, a list of numbers and texts. Frames of the
project come first, the one where it happened at their head.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from duck.app.unloaded import Unloaded
    from duck.backend.django.version import Failure

Fault = dict[str, Any]

MAX_FRAMES: Final = 60
MAX_SOURCE_BYTES: Final = 2 << 20
MAX_TEXT: Final = 20_000
MAX_TITLE: Final = 2000
MAKE_MIGRATIONS: Final = "python manage.py makemigrations"
_AROUND: Final = 5
_MAX_LINE: Final = 400

# Of text as `traceback` formats it; the frames of an exception group stand behind bars.
_FRAME: Final = re.compile(
    r'^[ |]*File "(?P<file>[^"\n]+)", line (?P<line>\d+)(?:, in (?P<function>.+))?$', re.MULTILINE
)
_ERROR: Final = re.compile(r"^(?P<name>[A-Za-z_][\w.]*)(?:: (?P<text>.*))?$")
_SYNTAX: Final = frozenset(("SyntaxError", "IndentationError", "TabError"))
_IMPORT: Final = frozenset(("ImportError", "ModuleNotFoundError"))
_TEMPLATE: Final = frozenset(
    ("TemplateSyntaxError", "TemplateDoesNotExist", "TemplateNotFound", "NoReverseMatch", "VariableDoesNotExist")
)
_PACKAGES: Final = re.compile(r".*[/\\](?:site|dist)-packages[/\\]")


def of_failure(failure: Failure, root: Path, *, serves: bool) -> Fault:
    """Of a project that could not be started; `serves`: what ran before goes on."""
    text = failure.traceback
    frames = frames_of(text, root)
    remark = "What ran before keeps running." if serves else ""
    if failure.stage == "checks" and not frames:
        return _fault("checks", failure.message, remark, details=text or "")
    name, title = _title(text, root) if frames else ("", failure.message)
    if not frames and text and failure.message not in text:
        return _fault(_kind(name), title, remark, details=text)
    return _fault(_kind(name), title, remark, frames=frames)


def of_syntax_error(error: SyntaxError, root: Path) -> Fault:
    """Of a file that cannot be compiled, so that nothing was loaded again."""
    frames = [_frame(error.filename or "", error.lineno or 1, "", root)]
    title = f"{type(error).__name__}: {error.msg}"
    return _fault("syntax", title, "What ran before keeps running.", frames=frames)


def of_unloaded(unloaded: Unloaded, root: Path, *, serves: bool) -> Fault:
    """Of a Duck project whose own side cannot be loaded."""
    frames = frames_of(unloaded.traceback, root)
    name, title = _title(unloaded.traceback, root) if frames else ("", unloaded.message)
    remark = "What ran before keeps running." if serves else "Duck's own side cannot be loaded."
    return _fault(_kind(name), title, remark, frames=frames)


def of_request(told: Mapping[str, Any], root: Path, unmade: Sequence[str] = ()) -> Fault:
    """Of a request that failed, as the worker tells it: `traceback`, and `template` and `unapplied` where these are it.

    `unmade` is as of `of_migrations`; it counts where a table or a column was not there (`database`).
    What is no fault of a template and has no remedy is quiet: Django's own page says it better.
    """
    text = str(told.get("traceback") or "")[-MAX_TEXT * 10 :]
    name, title = _title(text, root)
    frames = frames_of(text, root)
    unapplied = [str(one) for one in told.get("unapplied") or ()]
    if unapplied or (unmade and told.get("database")):
        return of_migrations(unapplied, unmade, title, frames=frames)
    kind, template = _kind(name), told.get("template")
    if isinstance(template, dict):
        place = _frame(str(template["file"]), int(template["line"]), "", root, own=True)
        # What only passed a template on its way happened in code.
        at = 0 if kind == "template" else sum(frame["own"] for frame in frames)
        frames.insert(at, place)
    return _fault(kind, title, "", frames=frames, quiet=kind != "template")


def of_migrations(
    unapplied: Sequence[str],
    unmade: Sequence[str] = (),
    message: str = "",
    *,
    frames: list[dict[str, Any]] | None = None,
) -> Fault:
    """Of migrations that have not been applied, and changes of models that none has: a quiet one where nothing has
    failed of it yet.
    """
    count = len(unapplied)
    if not count:
        title = "A model has changed without a migration" if len(unmade) == 1 else "Models changed without a migration"
    else:
        title = "A migration has not been applied" if count == 1 else f"{count} migrations have not been applied"
    return _fault(
        "migrations",
        title,
        message,
        remedy="migrate" if unapplied else "",
        command=MAKE_MIGRATIONS if unmade else "",
        frames=frames or [],
        details="\n".join((*unapplied, *unmade)),
        quiet=not message,
    )


def frames_of(text: str, root: Path) -> list[dict[str, Any]]:
    """The frames in a traceback's text: of the project first, of each kind the innermost first."""
    found = [
        (match["file"], int(match["line"]), match["function"] or "")
        for match in _FRAME.finditer(text[-MAX_TEXT * 10 :])
    ]
    # A frame that is named twice stands where it was named last.
    innermost = list(dict.fromkeys(reversed(found)))
    own = [frame for frame in innermost if _is_own(frame[0], root)]
    others = [frame for frame in innermost if not _is_own(frame[0], root)]
    return [_frame(*frame, root) for frame in [*own, *others][:MAX_FRAMES]]


def source_around(path: str, line: int) -> list[list[Any]]:
    """The lines around one, with their numbers; none where the file cannot be read."""
    try:
        if os.path.getsize(path) > MAX_SOURCE_BYTES:
            return []
        lines = Path(path).read_text("utf-8", "replace").splitlines()
    except (OSError, ValueError):
        return []
    first, last = max(1, line - _AROUND), min(len(lines), line + _AROUND)
    return [[number, lines[number - 1][:_MAX_LINE]] for number in range(first, last + 1)] if line >= 1 else []


def _frame(file: str, line: int, function: str, root: Path, *, own: bool | None = None) -> dict[str, Any]:
    library = _PACKAGES.match(file)
    if _is_own(file, root):
        shown = os.path.relpath(file, root)
    elif library is not None:
        shown = file[library.end() :]
    else:
        shown = file
    return {
        "file": file,
        "shown": shown,
        "line": line,
        "function": function,
        "own": _is_own(file, root) if own is None else own,
        "source": source_around(file, line),
    }


def _is_own(file: str, root: Path) -> bool:
    if not os.path.isabs(file) or _PACKAGES.match(file) is not None:
        return False
    return os.path.realpath(file).startswith(os.path.realpath(root) + os.sep)


def _title(text: str, root: Path) -> tuple[str, str]:
    """Name of the exception that ends a traceback's text, and what is said of it in a line or a few."""
    text = text.replace(f"({root}{os.sep}", "(")  # where a name was looked for in vain
    ends = [match.end() for match in _FRAME.finditer(text)]
    lines = text[ends[-1] if ends else 0 :].rstrip().splitlines()
    for index, line in enumerate(lines):
        match = _ERROR.match(line)
        if match is not None:
            name = match["name"].rpartition(".")[2]
            said = "\n".join([match["text"] or "", *lines[index + 1 :]]).strip()
            return name, f"{name}: {said}"[:MAX_TITLE] if said else name
    return "", (lines[-1].strip() if lines else "Something failed")[:MAX_TITLE]


def _kind(name: str) -> str:
    if name in _SYNTAX:
        return "syntax"
    if name in _IMPORT:
        return "import"
    return "template" if name in _TEMPLATE else "error"


def _fault(
    kind: str,
    title: str,
    message: str,
    *,
    remedy: str = "",
    command: str = "",
    frames: list[dict[str, Any]] | None = None,
    details: str = "",
    quiet: bool = False,
) -> Fault:
    return {
        "kind": kind,
        "title": title,
        "message": message,
        "remedy": remedy,
        "command": command,
        "frames": (frames or [])[:MAX_FRAMES],
        "details": details[:MAX_TEXT],
        "quiet": quiet,
    }
