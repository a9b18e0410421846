"""Duck as native modules, built for these sources once: kept in a cache, for the build takes minutes."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.compiling import compile_duck
from tests.environments import cache_directory
from tests.rerun.front import ROOT

# What no native module imports: a change there needs no new build.
APART = ("app", "backend", "cli", "services")
KEPT = 3


def native_duck(directory: Path) -> Path:
    """A new directory in `directory` with Duck as native modules, and with the sources as they are now.

    Raises:
        Missing: there is no compiler.
        Failed: it failed.
    """
    kept = cache_directory() / f"native-{key()}"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with open(kept.parent / "native.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (kept / ".complete").exists():
            shutil.rmtree(kept, ignore_errors=True)
            work = directory / "build"
            work.mkdir()
            shutil.copytree(compile_duck(work, optimised=False), kept)
            (kept / ".complete").touch()
        kept.touch()
        forget_old(kept.parent)
        made = Path(shutil.copytree(kept, directory / "native"))
    for source in made.joinpath("duck").rglob("*.py"):
        source.unlink()
    shutil.copytree(ROOT / "duck", made / "duck", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return made


def key() -> str:
    """Of all that native modules are made from: the sources that they may import, the compiler, the interpreter."""
    digest = hashlib.sha256(f"{sys.version}\0{sys.platform}\0{version('mypy')}\0".encode())
    files = [path for path in (ROOT / "duck").rglob("*.py") if path.relative_to(ROOT / "duck").parts[0] not in APART]
    for path in sorted([*files, ROOT / "pyproject.toml"]):
        digest.update(f"{path.relative_to(ROOT)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def forget_old(directory: Path) -> None:
    """Keep the builds that were used last."""
    builds = sorted(directory.glob("native-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in builds[KEPT:]:
        shutil.rmtree(path, ignore_errors=True)
