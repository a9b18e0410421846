"""The settings as text: the reference page, and comments for a settings.py."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from duck.settings.schema import GIB, KIB, MIB, SAME, SECTIONS, SETTINGS, Setting

_OPENING = """\
# Settings

<!-- Written by duck.settings.page from duck/settings/declared; change that, then run
     `python -m duck.settings.page > docs/reference/settings.md`. -->

Where a value comes from, the first that gives one:

1. the command line of `duck runserver` and `duck serve`;
2. the environment variable of the setting, `DUCK_` and its name; an empty one counts as absent;
3. inside a Duck project its settings module, `settings.py` beside `main.py` unless SETTINGS_MODULE names another;
   everywhere else `duck.toml` beside manage.py, with names in lower case, as in `port = 8001`;
4. under `duck serve` the variables PORT (which means ADDRESS 0.0.0.0, too) and WEB_CONCURRENCY of hosting platforms;
5. the default, which for some is another one under `duck serve`.

`duck settings` shows each value and where it was given, `--json` for programs.
An unknown name or a wrong value is refused with the file and line, the value, what would be right, and a near name.
Only an unknown `DUCK_*` variable is warned about and passed over: such variables may be somebody else's.
Names of a settings module that begin with `_` or hold lower-case letters are not looked at.

Seconds can be written as a number or as `"30s"`, `"5m"`, `"1h30m"`; bytes as a number or as `"10MB"`, `"64 KiB"`,
a K being 1024 in both.
On the command line an option for a list is given once for each item; in a variable the items are separated by commas,
or the whole is JSON, as is every table: `DUCK_BODY_LIMITS='{"/upload/.*": "5GB"}'`.
Paths are relative to the file that gives them, those of the command line and environment to the working directory.
"""


def settings_page() -> str:
    """docs/reference/settings.md."""
    parts = [_OPENING]
    for section in SECTIONS:
        parts.append(f"\n## {section}\n")
        parts.extend(_entry(setting) for setting in SETTINGS.values() if setting.section == section)
    return "".join(parts)


def settings_as_comments(source: str) -> str:
    """Every setting that `source`, a settings module, does not mention yet, as comments with its default."""
    lines = ["\n\n# Every other setting, with its default.\n"]
    for setting in SETTINGS.values():
        if setting.name in ("SETTINGS_MODULE", "BASE_DIR") or f"\n{setting.name} = " in source:
            continue
        lines.append("\n")
        lines.extend(f"# {line}\n" for line in textwrap.wrap(setting.sentence, 110))
        lines.append(f"# {setting.name} = {_python(setting.default)}\n")
    return "".join(lines)


def _entry(setting: Setting) -> str:
    kind = setting.kind.name + (", or none" if setting.kind.optional else "")
    facts = [kind, f"default {_default(setting, setting.default)}"]
    if setting.unit and not setting.default:
        facts[0] += f", in {setting.unit}"
    if setting.in_production is not SAME:
        facts[1] += f", under `duck serve` {_default(setting, setting.in_production)}"
    if setting.flags:
        facts.append("option " + ", ".join(f"`{flag}`" for flag in setting.flags))
    facts.append(f"variable `{setting.variable}`")
    if setting.aliases:
        facts.append("also called " + ", ".join(f"`{alias}`" for alias in setting.aliases))
    sentences = setting.sentence.replace(". ", ".\n")
    return f"\n### `{setting.name}`\n\n{sentences}\n\n{'; '.join(facts)}.\n"


def _default(setting: Setting, value: Any) -> str:
    if value is None:
        return "none"
    if value in ([], {}):
        return "empty"
    if setting.unit == "bytes" and value:
        for size, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
            if value >= size and value % size == 0:
                return f"{value // size} {name}"
    text = f"{value:g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
    return f"`{text}` {setting.unit}" if setting.unit else f"`{text}`"


def _python(value: Any) -> str:
    if isinstance(value, Path):
        return json.dumps(str(value))
    return json.dumps(value) if isinstance(value, (str, list)) else repr(value)


if __name__ == "__main__":
    import sys

    sys.stdout.write(settings_page())
