"""DuckSight: what `duck runserver` puts into a browser, and who may ask it for more."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Any, Final

from duck.settings import kinds
from duck.settings.setting import Setting

EDITORS: Final = ("vscode", "cursor", "windsurf", "zed", "pycharm", "sublime", "vim", "neovim", "emacs")

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


def _near(raw: Any, base: Path) -> str:
    right = 'give an address, a network like "172.17.0.0/16", or a host name like "shop.test"'
    if not isinstance(raw, str):
        raise ValueError(right)
    try:
        return str(ipaddress.ip_network(raw, strict=True))
    except ValueError:
        name = raw.lower().removesuffix(".")
        # An address that is none, and a network with bits to the right of its mask, are no names either.
        if _NAME.fullmatch(name) is None or re.fullmatch(r"[\d.]+", name) is not None:
            raise ValueError(right) from None
        return name


DUCKSIGHT: Final = (
    Setting(
        "DuckSight",
        "DUCKSIGHT",
        kinds.BOOLEAN,
        True,
        "Whether pages that `duck runserver` answers in DEBUG show changes and faults by themselves.",
        flags=("--ducksight/--no-ducksight",),
        of=("runserver",),
        in_production=False,
    ),
    Setting(
        "DuckSight",
        "DUCKSIGHT_ALLOWED",
        kinds.items(kinds.Kind("address, network or host name", _near), "addresses, networks and host names"),
        [],
        "Who may use it besides this machine: addresses and networks of container and WSL gateways; and by which host"
        " names besides `localhost`.",
    ),
    Setting(
        "DuckSight",
        "DUCKSIGHT_EDITOR",
        kinds.choice("auto", *EDITORS, "off"),
        "auto",
        "The editor that a link in a fault opens; `auto` is the one in whose terminal Duck was started.",
    ),
    Setting(
        "DuckSight",
        "DUCKSIGHT_REQUESTS",
        kinds.integer(0, 10_000),
        200,
        "How many of the last requests are kept in memory, to be looked at in the browser and by `duck requests`; 0 for"
        " none.",
        unit="requests",
    ),
)
