"""What a running Duck says of itself, asked as `duck status` asks, but without a process for each question."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from duck.cli.instances import base_of
from duck.services.instance import running_instances
from duck.services.ipc import NotRunning, call

DEADLINE_S = 30.0


def report(run_directory: Path, project: Path, name: str | None = None) -> dict[str, Any]:
    """The report of the Duck that runs for `project`; empty while there is none, or while it starts or ends.

    Args:
        run_directory: XDG_RUNTIME_DIR of that Duck.
    """
    for instance in running_instances(run_directory / "duck"):
        if instance.project == os.path.realpath(project) and name in (None, instance.name):
            with contextlib.suppress(NotRunning):
                return base_of(instance) | call(instance.control, "status", deadline_s=DEADLINE_S)
    return {}
