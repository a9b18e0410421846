"""Which directories are looked into."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from duck.services.ducksight import ChangeFilter, Places
from duck.services.ducksight.filter import reaches, walk
from duck.services.ducksight.gitignore import GitIgnore, above, lock_of


def walked(root: Path, chosen: ChangeFilter) -> set[str]:
    return {os.path.relpath(path, root) for path, _ in walk(str(root), chosen)}


@pytest.mark.parametrize("name", [".git", ".venv", "node_modules", "__pycache__", "site-packages", ".mypy_cache"])
def test_directories_that_never_hold_sources_are_not_entered(name: str) -> None:
    assert not ChangeFilter().enters(f"/p/{name}", [])


def test_an_environment_and_a_cache_are_known_by_what_they_hold_not_by_their_names() -> None:
    for mark in ("pyvenv.cfg", "conda-meta", "CACHEDIR.TAG"):
        assert not ChangeFilter().enters("/p/whatever", ["bin", mark])
    assert ChangeFilter().enters("/p/env", ["models.py"])


def test_named_roots_are_not_entered() -> None:
    assert not ChangeFilter(ignored=["/p/media/"]).enters("/p/media", [])


def test_nothing_below_an_ignored_directory_is_walked(tmp_path: Path) -> None:
    for path in ("app/migrations", "app/__pycache__", "node_modules/x/y", ".git/objects", "ve/lib/app"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "ve" / "pyvenv.cfg").touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    assert walked(tmp_path, ChangeFilter()) == {".", "app", "app/migrations"}


def test_a_walk_tells_the_files_that_matter(tmp_path: Path) -> None:
    (tmp_path / "a.py").touch()
    (tmp_path / "a.txt").touch()
    assert list(walk(str(tmp_path), ChangeFilter())) == [(str(tmp_path), ["a.py"])]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """With directories that Git leaves out by files of every kind, as `git check-ignore` says, too."""
    for path in ("site/app", "site/build", "site/app/data", "site/app/keep", "out/deep", "logs", "site/theme/dist/css"):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "x.py").touch()
    (tmp_path / ".gitignore").write_text("build/\n/out\nd*ta\n!/site/app/data/\n# logs\ndist\n")
    (tmp_path / "site" / "app" / ".gitignore").write_text("*\n!keep/\n")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".git" / "info" / "exclude").write_text("logs\n")
    return tmp_path


def test_git_and_duck_are_of_one_mind(repository: Path) -> None:
    git = GitIgnore()
    directories = sorted(str(path) for path in repository.rglob("*") if path.is_dir() and ".git" not in path.parts)
    # One below an ignored one is never asked for.
    directories = [path for path in directories if not any(git.ignores(str(one)) for one in Path(path).parents[:-2])]
    said = subprocess.run(
        ["git", "-C", str(repository), "check-ignore", "--stdin"],
        input="\n".join(directories),
        capture_output=True,
        text=True,
        check=False,
    )
    assert [path for path in directories if git.ignores(path)] == said.stdout.split()
    assert said.stdout.split()


def test_what_git_leaves_out_is_not_walked(repository: Path) -> None:
    assert walked(repository / "site", ChangeFilter()) == {".", "app", "app/keep", "theme"}


def test_what_the_project_names_is_walked_whatever_git_leaves_out(repository: Path) -> None:
    named = Places(django=str(repository)).told(
        {"template_dirs": [], "static_dirs": [["", f"{repository}/site/theme"]]}
    )
    assert "theme/dist/css" in walked(repository / "site", ChangeFilter(places=named))


def test_a_project_within_a_repository_that_leaves_out_everything_is_walked(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("*\n")
    (tmp_path / "code" / "site" / "app").mkdir(parents=True)
    assert walked(tmp_path / "code" / "site", ChangeFilter()) == {".", "app"}


def test_outside_of_a_repository_only_files_of_the_project_count(tmp_path: Path) -> None:
    (tmp_path / "site" / "app").mkdir(parents=True)
    (tmp_path / "site" / "old").mkdir()
    (tmp_path / ".gitignore").write_text("app\n")
    (tmp_path / "site" / ".gitignore").write_text("old\n")
    chosen = ChangeFilter(places=Places(django=str(tmp_path / "site")))
    assert walked(tmp_path / "site", chosen) == {".", "app"}


def test_a_directory_is_reached_unless_one_on_the_way_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "a" / "node_modules" / "b").mkdir(parents=True)
    chosen = ChangeFilter()
    assert reaches(str(tmp_path / "a"), str(tmp_path), chosen)
    assert not reaches(str(tmp_path / "a" / "node_modules" / "b"), str(tmp_path), chosen)


def test_the_lock_of_a_worktree_is_where_git_keeps_it(repository: Path, tmp_path: Path) -> None:
    assert lock_of(str(repository / "site" / "app")) == str(repository / ".git" / "index.lock")
    (repository / "tree").mkdir()
    (repository / "tree" / ".git").write_text(f"gitdir: {repository}/.git/worktrees/tree\n")
    assert lock_of(str(repository / "tree")) == f"{repository}/.git/worktrees/tree/index.lock"


def test_what_is_above_ends_with_the_repository(repository: Path) -> None:
    assert above(str(repository / "site" / "app")) == (str(repository / "site"), str(repository))
    assert above(str(repository)) == ()
    assert above(str(repository.parent)) == ()
