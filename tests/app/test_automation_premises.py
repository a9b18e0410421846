"""What declarations need where they run: found as a problem here, as a warning where others may have it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from duck.app.automation_premises import Place, look_around
from duck.services.automations.declaration import Declaration, read_declaration
from duck.settings.load import load

if TYPE_CHECKING:
    import pytest


def declared(name: str, **table: Any) -> Declaration:
    return read_declaration(name, {"shell": "true", **table}, f"duck.toml:{len(name)}", ZoneInfo("UTC"))


def look(
    root: Path, *declarations: Declaration, environ: dict[str, str] | None = None, **values: Any
) -> tuple[list[str], list[str]]:
    settings = load({}, {}, root).with_values(**values)
    return look_around(settings, declarations, Place(root), environ or {})


def hook(name: str, **secret: str) -> Declaration:
    return declared(name, on="webhook", path="/hook", **secret)


def test_what_is_there_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "jobs").mkdir()
    (tmp_path / "key").touch()
    found = look(
        tmp_path,
        declared("a", cwd="jobs"),
        declared("b", cwd="~/jobs"),
        declared("c", cwd=str(tmp_path), run_on="each"),
        hook("d", secret_file="key"),
        hook("e", secret_env="HOOK"),
        declared("f", run_on="mail"),
        declared("g", cwd="nowhere", enabled=False),
        environ={"HOOK": "s" * 16},
        AUTOMATION_TAGS=["mail"],
    )
    assert found == ([], [])


def test_a_directory_and_a_file_that_are_not_there_are_problems(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    problems, warnings = look(
        tmp_path, declared("a", cwd="nowhere"), declared("bb", cwd="file"), hook("ccc", secret_file="key")
    )
    assert problems == [
        f"duck.toml:1: the automation 'a' runs in {tmp_path}/nowhere, which is not there; make it, or give another"
        " cwd.",
        f"duck.toml:2: the automation 'bb' runs in {tmp_path}/file, which is no directory; give another cwd.",
        f"duck.toml:3: the automation 'ccc' has the secret of /hook in {tmp_path}/key, which is not there, so that it"
        " refuses everybody; write it.",
    ]
    assert warnings == []


def test_where_other_nodes_may_have_them_they_are_warnings(tmp_path: Path) -> None:
    problems, warnings = look(tmp_path, declared("a", cwd="nowhere"), AUTOMATION_ENGINE="postgres")
    assert problems == [] and "which is not there" in warnings[0]
    problems, warnings = look(tmp_path, declared("a", cwd="nowhere", run_on="mail"))
    assert problems == [] and len(warnings) == 2


def test_variables_are_those_of_this_process_alone(tmp_path: Path) -> None:
    problems, warnings = look(
        tmp_path, hook("a", secret_env="HOOK_SECRET"), hook("b", secret_env="NONE"), environ={"HOOK_SECERT": "x"}
    )
    assert problems == []
    assert warnings[0].endswith(
        "'a' has the secret of /hook in the variable HOOK_SECRET, which is not set here; did you mean HOOK_SECERT?"
    )
    assert warnings[1].endswith("which is not set here; set it where Duck serves, or give secret_file.")


def test_a_tag_that_this_node_has_not_is_one_warning_for_all_that_name_it(tmp_path: Path) -> None:
    several = [declared(f"j{number}", run_on="mial") for number in range(5)]
    problems, warnings = look(tmp_path, *several, declared("other", run_on="gpu"), AUTOMATION_TAGS=["mail", "web"])
    assert problems == []
    assert warnings == [
        "j0, j1, j2 and 2 more run on nodes with the tag 'mial' alone, which is none of this one's (AUTOMATION_TAGS has"
        " mail, web); did you mean mail?",
        "other runs on nodes with the tag 'gpu' alone, which is none of this one's (AUTOMATION_TAGS has mail, web);"
        " start one that has it, or is called so.",
    ]
