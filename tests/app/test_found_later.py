"""Files that count as others do, though no walk through the project comes upon them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.app.conftest import Duck


def test_a_module_that_is_a_link_is_loaded_again_when_its_file_changes(
    project: Path, start: Callable[..., Duck], until_watched: Callable[[Path, int], None], tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    real = shared / "version.py"
    real.write_text('VERSION = "shared"\n')
    (project / "site1" / "version.py").unlink()
    (project / "site1" / "version.py").symlink_to(real)
    duck = start(project)
    duck.wait_for("is ready after")
    until_watched(project, 3)
    assert duck.get().text == "shared"
    real.write_text('VERSION = "changed"\n')
    wait_until(lambda: duck.get().text == "changed")


def test_settings_that_are_made_later_count_from_then_on(
    project: Path, start: Callable[..., Duck], until_watched: Callable[[Path, int], None]
) -> None:
    duck = start(project)
    duck.wait_for("is ready after")
    until_watched(project, 2)
    (project / "duck.toml").write_text("KEEP_ALIVE_TIMEOUT = 'no time'\n")
    duck.wait_for("KEEP_ALIVE_TIMEOUT")
    assert duck.get().text == "one"
    (project / "duck.toml").write_text("KEEP_ALIVE_TIMEOUT = 3\n")
    duck.wait_for("is ready after", times=2)
    assert duck.get().text == "one"
    assert duck.process.poll() is None
