"""Automations as Kubernetes CronJobs, `batch/v1`, of Kubernetes 1.27 or newer (`timeZone`)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from duck.services.automations.exports.export import BESIDE, Command, Export
from duck.services.automations.exports.times import NotSaid, refuse_each, tag_notes, times_of

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration

IMAGE: Final = "registry.example/your-project:latest"
# A CronJob's name gets eleven characters more for each Job, and a Job's may have 63.
_MOST_NAME: Final = 52
_POLICIES: Final = {"allow": "Allow", "replace": "Replace"}


def k8s(declarations: Sequence[Declaration], command: Command, image: str = IMAGE) -> Export:
    """One file, `cronjobs.yaml`, a document for each line that says when."""
    head = [*BESIDE, "Runs of all have to share a store: set AUTOMATION_ENGINE to one that is no file of a container."]
    documents = ["".join(f"# {line}\n" for line in head)]
    left: list[str] = []
    names: set[str] = set()
    for declaration in declarations:
        if not declaration.enabled:
            continue
        try:
            refuse_each(declaration)
            times = times_of(declaration)
            expressions = [(each.expression, each.zone) for each in times]
        except NotSaid as why:
            left.append(f"{declaration.name} ({declaration.when}) cannot be said as a CronJob: {why}.")
            documents.append(f"# {left[-1]}\n")
            continue
        notes = tag_notes(declaration)
        if declaration.missed == "all":
            notes.append('missed = "all": Kubernetes starts it once for all that was missed.')
        if declaration.jitter_s:
            notes.append("jitter: Kubernetes has none, and starts it at its time.")
        left += [f"{declaration.name}: {note}" for note in notes]
        for number, (expression, zone) in enumerate(expressions):
            name = _name(declaration.name, number, names)
            names.add(name)
            text = "".join(f"# {note}\n" for note in notes)
            documents.append(text + _yaml(_cron_job(name, declaration, expression, zone, command, image)))
    return Export({"cronjobs.yaml": "---\n".join(documents)}, tuple(left))


def _cron_job(
    name: str, declaration: Declaration, expression: str, zone: str, command: Command, image: str
) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "schedule": expression,
        "timeZone": zone,
        "concurrencyPolicy": _POLICIES.get(declaration.overlap, "Forbid"),
        # Under ten seconds the controller, which looks every ten, may start none.
        "startingDeadlineSeconds": max(10, int(declaration.within_s)) if declaration.missed != "skip" else 60,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {
            "spec": {
                # Duck tries again itself, as `retry` says.
                "backoffLimit": 0,
                "template": {
                    "spec": {
                        "restartPolicy": "Never",
                        "containers": [
                            {
                                "name": "duck",
                                "image": image,
                                "command": list(command.of(declaration.name)),
                                "workingDir": str(command.directory),
                            }
                        ],
                    }
                },
            }
        },
    }
    metadata = {
        "name": name,
        "labels": {"app.kubernetes.io/managed-by": "duck"},
        "annotations": {"duck/automation": declaration.name},
    }
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": spec}


def _name(name: str, number: int, taken: set[str]) -> str:
    """A name as RFC 1123 has it for labels, another one for each."""
    base = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "automation"
    wanted = f"duck-{base}"[:_MOST_NAME].rstrip("-") + (f"-{number + 1}" if number else "")
    found, count = wanted[-_MOST_NAME:], 2
    while found in taken:
        tail = f"-{count}"
        found = wanted[: _MOST_NAME - len(tail)].rstrip("-") + tail
        count += 1
    return found


def _yaml(value: Any, depth: int = 0) -> str:
    """Block style of YAML 1.2; texts as JSON writes them, which is YAML, too."""
    space = "  " * depth
    if isinstance(value, dict):
        return "".join(f"{space}{key}:{_below(item, depth)}" for key, item in value.items())
    return "".join(f"{space}-{_below(item, depth)}" for item in value)


def _below(item: Any, depth: int) -> str:
    if isinstance(item, dict | list) and item:
        return "\n" + _yaml(item, depth + 1)
    return f" {json.dumps(item)}\n"
