"""Lines of crontab(5), read into tables as `duck.toml` has them. Pure.

What cron does and Duck does not, or otherwise, is said with each job: users of their own, mail, files of other shells.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

from duck.exceptions import SettingsError
from duck.services.automations.declaration import read_declaration

_ASSIGNMENT: Final = re.compile(r"""\s*(?P<q>["']?)(?P<name>[A-Za-z_]\w*)(?P=q)\s*=\s*(?P<value>.*?)\s*""")
_NICKNAMES: Final = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
# FreeBSD's.
_EVERY: Final = {"@every_minute": "1m", "@every_second": "1s"}
_NAME: Final = re.compile(r"[^A-Za-z0-9_.-]+")
_SPAN: Final = re.compile(r"[\d.]+[smhd]?")
# What runs others, and names no job.
_WRAPPERS: Final = frozenset(
    {
        "cd",
        "env",
        "sudo",
        "nice",
        "ionice",
        "nohup",
        "flock",
        "timeout",
        "test",
        "[",
        "exec",
        "command",
        "time",
        "chronic",
        "sleep",
        "if",
        "then",
        "else",
        "[[",
        "set",
        "export",
        "source",
        "umask",
        "systemd-cat",
    }
    | {"python", "python3", "sh", "bash", "perl", "php", "ruby", "node", "run-parts", "-c"}
)


@dataclass(frozen=True, slots=True)
class Job:
    """One line that runs something.

    Attributes:
        command: what the line runs, as cron reads it, without what that is fed.
        table: as `[automations.NAME]` has it.
        notes: sentences on what is otherwise than under cron.
    """

    line: int
    name: str
    command: str
    table: Mapping[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Crontab:
    """A crontab that was read.

    Attributes:
        problems: sentences on lines that cannot be carried over.
    """

    jobs: tuple[Job, ...]
    problems: tuple[str, ...]


def read_crontab(text: str, *, has_users: bool, home: str | None, zone: ZoneInfo) -> Crontab:
    """The jobs of a crontab.

    Args:
        has_users: whether each line says who runs it, as those of /etc/crontab and /etc/cron.d do.
        home: where cron runs the commands of this user's crontab; None where that is not known.
        zone: the machine's.
    """
    variables: dict[str, str] = {}
    jobs: list[Job] = []
    problems: list[str] = []
    names: set[str] = set()
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        assigned = _assignment(raw)
        if assigned is not None:
            variables[assigned[0]] = assigned[1]
            continue
        try:
            job = _job(number, line, variables, names, has_users=has_users, home=home)
            read_declaration(job.name, job.table, f"line {number}", zone)
        except SettingsError as error:  # of a name that nobody has given yet
            why = str(error).partition(" cannot be used: ")[2]
            problems.append(f"line {number} cannot be carried over: {why}")
        except ValueError as error:
            problems.append(f"line {number} cannot be carried over: {error}.")
        else:
            names.add(job.name)
            jobs.append(job)
    return Crontab(tuple(jobs), tuple(problems))


def _assignment(line: str) -> tuple[str, str] | None:
    """`NAME = value`, each in quotes or not; the value of a job's line never gets here, for it begins with no name."""
    match = _ASSIGNMENT.fullmatch(line)
    if match is None:
        return None
    value = match["value"]
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    return match["name"], value


def _job(
    number: int, line: str, variables: Mapping[str, str], names: set[str], *, has_users: bool, home: str | None
) -> Job:
    notes: list[str] = []
    line = line.removeprefix("-") if re.match(r"-[\d*@]", line) else line  # cronie: not in the log
    trigger, rest = _trigger(line)
    user = ""
    if has_users and rest:
        user, *more = rest.split(None, 1)
        rest = more[0] if more else ""
    command, fed = _split(rest)
    if not command.strip():
        raise ValueError("it has no command" if not has_users else "it has no command behind the user")
    if "on" in trigger:
        notes.append("@reboot is at the start of the machine; this is at each start of a node of Duck.")
    if user:
        home_too = variables.get("HOME") is None
        here = " in the project's directory," if home_too else ""
        there = ", in that user's home" if home_too else ""
        notes.append(f"It ran as {user}{there}; here it runs{here} as the user that runs Duck.")
    table: dict[str, Any] = {"shell": _in_shell(_fed(command.strip(), fed), variables.get("SHELL", "")), **trigger}
    zone = variables.get("CRON_TZ", "")
    if zone and "cron" in trigger:
        table["tz"] = zone
    directory = variables.get("HOME") or (None if user else home)
    if directory:
        table["cwd"] = directory
    env = {name: value for name, value in variables.items() if name not in _NOT_IN_ENV}
    if env:
        table["env"] = env
    # As cron does: nothing that was missed is run, and nothing waits for the run before.
    if "on" not in table:
        table["missed"] = "skip"
        if delay := _random_delay(variables):
            table["jitter"] = f"{delay}m"
    table["overlap"] = "allow"
    notes += _notes(variables)
    return Job(number, _named(command, names), command.strip(), table, tuple(notes))


_NOT_IN_ENV: Final = frozenset({"CRON_TZ", "MAILTO", "MAILFROM", "RANDOM_DELAY", "HOME", "SHELL", "CONTENT_TYPE"})


def _notes(variables: Mapping[str, str]) -> Iterator[str]:
    if variables.get("MAILTO"):
        yield f"Its output was mailed to {variables['MAILTO']}; here it is kept, and `alert` tells of failures."
    if _random_delay(variables):
        yield "RANDOM_DELAY is `jitter` here: the same for each time, and another for each automation."


def _random_delay(variables: Mapping[str, str]) -> int:
    """cronie's, in minutes."""
    said = variables.get("RANDOM_DELAY", "")
    return int(said) if said.isdecimal() else 0


def _trigger(line: str) -> tuple[dict[str, str], str]:
    """The trigger, and what stands behind it."""
    if line.startswith("@"):
        word, *more = line.split(None, 1)
        rest = more[0] if more else ""
        nickname = word.lower()
        if nickname == "@reboot":
            return {"on": "start"}, rest
        if nickname in _EVERY:
            return {"every": _EVERY[nickname]}, rest
        if nickname not in _NICKNAMES:
            raise ValueError(f"{word} is none of {', '.join((*_NICKNAMES, '@reboot'))}")
        return {"cron": nickname}, rest
    parts = line.split(None, 5)
    if len(parts) < 6:
        raise ValueError(f"it has {len(parts)} fields: five and a command are needed")
    fields = parts[:5]
    for field in fields:
        if "~" in field:
            raise ValueError(f"{field} is a time by chance; give one, and `jitter`")
    return {"cron": " ".join(fields)}, parts[5]


def _split(command: str) -> tuple[str, str | None]:
    """A command, and what it is fed: `%` ends it, and is a new line behind that; `\\%` is a plain one."""
    parts = [part.replace("\\%", "%") for part in re.split(r"(?<!\\)%", command)]
    return parts[0], "\n".join(parts[1:]).removesuffix("\n") + "\n" if len(parts) > 1 else None


def _fed(command: str, fed: str | None) -> str:
    if fed is None:
        return command
    lines = " ".join(shlex.quote(line) for line in fed.removesuffix("\n").split("\n"))
    return f"printf '%s\\n' {lines} | ( {command} )"


def _in_shell(command: str, shell: str) -> str:
    """Duck's commands run under /bin/sh."""
    return command if shell in ("", "/bin/sh", "sh") else f"exec {shlex.quote(shell)} -c {shlex.quote(command)}"


def _named(command: str, taken: set[str]) -> str:
    """A name from the first word that says what it is: a management command, a script, a program."""
    try:
        words = shlex.split(command, comments=False)
    except ValueError:
        words = command.split()
    name = ""
    is_managed = False
    skips = False  # an argument of what names no job: a directory, a file, a time
    # A script within the line, as of `sh -c`, is looked through as well.
    for word in " ".join(words).split():
        last = word.rstrip(";").rsplit("/", 1)[-1]
        if skips and not word.startswith("-"):
            skips = False
            continue
        if last in ("cd", "flock", ".", "source"):
            skips = True
            continue
        if last == "manage.py":
            is_managed = True
            continue
        plain = last.removesuffix(".sh").removesuffix(".py").removesuffix(".pl")
        if last in _WRAPPERS or _SPAN.fullmatch(last) or word[:1] in "-&|(){}<>!" or "=" in word:
            continue
        if not re.search("[A-Za-z]", plain):
            continue
        name = plain
        break
    name = _NAME.sub("-", name).strip("-.")[:80] or ("manage" if is_managed else "job")
    found, number = name, 2
    while found in taken:
        found, number = f"{name}-{number}", number + 1
    return found
