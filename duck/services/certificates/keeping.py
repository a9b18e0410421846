"""One pass of the keeper in a process of its own, started by an App when something is due.

The libraries of authorities, and the wait for them, stay out of the process that watches all others; and that one can
end this at any moment. What it reports are the keeper's outcomes, each a line; it ends after the last.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import duck
from duck.backend.django.worker.control import die_with_parent, tie_group
from duck.services.certificates.lease import STALE_S
from duck.services.child import Child
from duck.services.plain_values import revived
from duck.settings.views import CertificatesView

if TYPE_CHECKING:
    from duck.services.inbox import Inbox

VARIABLE: Final = "_DUCK_KEEPING"
# Long enough to see that a machine which holds the lease is gone.
WAIT_S: Final = STALE_S + 30.0


def spawn(inbox: Inbox, state: Path, view: CertificatesView, names: Sequence[str]) -> Child:
    """Start a pass over `names`.

    Raises:
        ApplicationError: the system has no room for it.
    """
    told = {"state": str(state), "view": _to_values(view), "names": list(names)}
    # By its place, and from nowhere else: the working directory may hold a project with a module of that name.
    place = str(Path(duck.__file__).resolve().parents[1])
    source = f"import sys; sys.path.insert(0, {place!r}); from {__name__} import main; sys.exit(main())"
    return Child.spawn(inbox, [sys.executable, "-P", "-c", source], VARIABLE, told, [])


def main() -> int:
    """The process."""
    told = json.loads(os.environ.pop(VARIABLE))
    control = socket.socket(fileno=told["control_fd"])
    for descriptor in (told["control_fd"], told["lifeline_fd"]):
        os.set_inheritable(descriptor, False)
    die_with_parent(told["parent"], is_tied=tie_group(told["lifeline_fd"]))
    from duck.services.certificates.keeper import Keeper, as_values

    keeper = Keeper(Path(told["state"]), _from_values(told["view"]))
    for outcome in keeper.run(told["names"], wait_s=WAIT_S):
        control.sendall(json.dumps({"event": "outcome", **as_values(outcome)}).encode() + b"\n")
    return 0


def _to_values(view: CertificatesView) -> dict[str, Any]:
    return {**dataclasses.asdict(view), "ca_file": None if view.ca_file is None else str(view.ca_file)}


def _from_values(values: dict[str, Any]) -> CertificatesView:
    view = revived(CertificatesView, values)
    return view if view.ca_file is None else dataclasses.replace(view, ca_file=Path(view.ca_file))
