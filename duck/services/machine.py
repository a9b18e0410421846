"""The machine as far as this process may use it: processors, memory, and how many workers fit.

A container sees all of its host's processors and memory. What it may use stands in its control group, and in each of
that group's ancestors: the least counts (cgroups(7), Documentation/admin-guide/cgroup-v2.rst).

    /proc/self/cgroup       which group, of each hierarchy:     0::/system.slice/duck.service
    /proc/self/mountinfo    where that hierarchy can be seen:   ... / /sys/fs/cgroup ... - cgroup2 ...
    <group>/cpu.max, memory.max, memory.high                    version 2
    <group>/cpu.cfs_quota_us, cpu.cfs_period_us, memory.limit_in_bytes      version 1

Every function takes the root of the file system to read, so that a tree of files is all that a test needs.
"""

from __future__ import annotations

import math
import os
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

from duck.exceptions import SettingsError

PROCESSORS_PER_FRONT_WORKER: Final = 4
"""A request costs a front worker about a quarter of what it and Django's process cost together, or less: 20 us of
proxying, static files and TLS beside 70 to 400 of a small view. Where files are most of the load, say --workers."""

MEMORY_PER_DJANGO_PROCESS: Final = 128 << 20
"""What `auto` leaves for one: projects of middle size have 60 to 150 MiB resident, and a container of 512 MiB on a host
of 64 processors must not start 64 of them."""

_ROOT: Final = Path("/")


def processors(root: Path = _ROOT, affinity: int | None = None) -> int:
    """How many processors this process may keep busy, at least 1.

    The fewer of those it is bound to (taskset, cpusets; `affinity`, by default asked of the system) and its quota. That
    is rounded up, as the JVM, .NET and Go do: with 1.5 processors, one worker would leave a third unused at all times,
    two are slowed only while both are busy.
    """
    bound = _affinity() if affinity is None else affinity
    quota = cpu_quota(root)
    return max(1, bound if quota is None else min(bound, math.ceil(quota)))


def cpu_quota(root: Path = _ROOT) -> float | None:
    """The processors' time that the control group may use, in processors (1.5), or None where there is no quota."""
    return _least(root, "cpu", _cpu_max, _cfs_quota)


def memory_limit(root: Path = _ROOT) -> int | None:
    """The bytes that the control group may use, or None where it is no less than the machine has.

    Of version 2 `memory.high` counts, too: nothing is killed beyond it, but everything is slowed down.
    """
    limit = _least(root, "memory", _memory_max, _limit_in_bytes)
    if limit is None:
        return None
    # Version 1 writes "none" as a number near 2**63.
    found = re.search(r"^MemTotal:\s+(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    machine = int(found[1]) * 1024 if found is not None else 1 << 60
    return int(limit) if limit < machine else None


def workers(
    value: int | Literal["auto"], environ: Mapping[str, str], *, root: Path = _ROOT, affinity: int | None = None
) -> int:
    """How many front workers: the number given, else WEB_CONCURRENCY, else one for every four processors begun.

    Raises:
        SettingsError: WEB_CONCURRENCY is no number.
    """
    if value != "auto":
        return value
    return _web_concurrency(environ) or math.ceil(_with_room(root, affinity) / PROCESSORS_PER_FRONT_WORKER)


def django_workers(
    value: int | Literal["auto"], environ: Mapping[str, str], *, root: Path = _ROOT, affinity: int | None = None
) -> int:
    """How many Django processes: the number given, else WEB_CONCURRENCY, else one for every processor.

    Not the two for every processor, and one more, that are usual with gunicorn: they make up for workers that wait for
    a database with nothing else to do, and here threads do. `auto` is no more than have room in the memory limit.

    Raises:
        SettingsError: WEB_CONCURRENCY is no number.
    """
    if value != "auto":
        return value
    return _web_concurrency(environ) or _with_room(root, affinity)


def _with_room(root: Path, affinity: int | None) -> int:
    """The processors that can be kept busy with the memory there is."""
    count = processors(root, affinity)
    memory = memory_limit(root)
    return count if memory is None else max(1, min(count, memory // MEMORY_PER_DJANGO_PROCESS))


def _web_concurrency(environ: Mapping[str, str]) -> int | None:
    text = environ.get("WEB_CONCURRENCY", "").strip()
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,4}", text) or int(text) < 1:
        raise SettingsError(f"WEB_CONCURRENCY is {text!r}: give a number of workers from 1 on, or unset it.")
    return int(text)


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# -- control groups -----------------------------------------------------------------------------------------------


def _least(
    root: Path, controller: str, version2: Callable[[Path], float | None], version1: Callable[[Path], float | None]
) -> float | None:
    """The least limit of the own group and its ancestors; machines with both versions have a controller in one."""
    found = [
        limit
        for is_version2, read in ((True, version2), (False, version1))
        for group in _groups(root, controller, is_version2=is_version2)
        if (limit := read(group)) is not None
    ]
    return min(found, default=None)


def _groups(root: Path, controller: str, *, is_version2: bool) -> Iterator[Path]:
    """The directories of the own group and its ancestors, as far up as this process can see."""
    path = _own_group(root, controller, is_version2=is_version2)
    if path is None:
        return
    for top, mount_point in _mounts(root, controller, is_version2=is_version2):
        mounted = root / mount_point.lstrip("/")
        # In a container without a namespace of its own the path is the host's, of which only a part is mounted; one
        # that was moved to elsewhere reads `/../other`. What cannot be seen is as good as the top of what can.
        below = posixpath.relpath(path, top)
        group = mounted if below == "." or below.startswith("..") else mounted / below
        if not group.is_dir():
            group = mounted
        yield group
        while group != mounted:
            group = group.parent
            yield group
        return


def _own_group(root: Path, controller: str, *, is_version2: bool) -> str | None:
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if (number == "0" and not controllers) if is_version2 else controller in controllers.split(","):
            return path
    return None


def _mounts(root: Path, controller: str, *, is_version2: bool) -> Iterator[tuple[str, str]]:
    """The directory of the hierarchy that is mounted, and where (proc_pid_mountinfo(5))."""
    for line in _text(root / "proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ")
        if len(fields) < 5 or len(kind) < 3:
            continue
        if kind[0] == ("cgroup2" if is_version2 else "cgroup") and (is_version2 or controller in kind[2].split(",")):
            yield _unescaped(fields[3]), _unescaped(fields[4])


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _cpu_max(group: Path) -> float | None:
    quota, _, period = _text(group / "cpu.max").strip().partition(" ")
    return _ratio(quota, period or "100000")


def _cfs_quota(group: Path) -> float | None:
    return _ratio(_text(group / "cpu.cfs_quota_us").strip(), _text(group / "cpu.cfs_period_us").strip())


def _ratio(quota: str, period: str) -> float | None:
    """None for `max`, for -1, and for what is not there."""
    if quota.isdecimal() and period.isdecimal() and int(quota) and int(period):
        return int(quota) / int(period)
    return None


def _memory_max(group: Path) -> float | None:
    said = [_text(group / name).strip() for name in ("memory.max", "memory.high")]
    return min((int(text) for text in said if text.isdecimal() and int(text)), default=None)


def _limit_in_bytes(group: Path) -> float | None:
    said = _text(group / "memory.limit_in_bytes").strip()
    return int(said) if said.isdecimal() and int(said) else None


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "surrogateescape")
    except OSError:
        return ""  # no such file, or one that is closed to us: nothing is said
