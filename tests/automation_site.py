"""A directory with a `duck.toml` of automations, and the nodes that dispatch them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Site:
    """Its jobs are shell commands.

    Args:
        root: of a Django project that is there already; without one the site is a directory of its own.
    """

    def __init__(self, directory: Path, toml: str, root: Path | None = None) -> None:
        self.directory = root or directory / "site"
        self.directory.mkdir(exist_ok=True)
        (self.directory / "duck.toml").write_text(toml)
        self.state = directory / "state"
        self.state.mkdir(mode=0o700)
        self.nodes: list[subprocess.Popen[str]] = []

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "duck", "automations", *arguments, "--state-dir", str(self.state)]

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*arguments), cwd=self.directory, capture_output=True, text=True, timeout=60)

    def json(self, *arguments: str) -> Any:
        done = self.call(*arguments, "--json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def start(self, *arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """A node; what it says goes to a file of its own."""
        with (self.directory / f"node-{len(self.nodes)}.log").open("w") as log:
            node = subprocess.Popen(
                self.command("run", *arguments),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stderr=log,
                text=True,
                env={**os.environ, **(environ or {})},
            )
        self.nodes.append(node)
        return node

    def logs(self, most: int = 1_000_000) -> str:
        """The end of what each node has said, `most` characters of each."""
        files = sorted(self.directory.glob("node-*.log"))
        return "".join(f"--- {path.name}\n{path.read_text()[-most:]}" for path in files)

    def runs(self, name: str = "tick") -> list[dict[str, Any]]:
        """The history of an automation, the newest first."""
        found: list[dict[str, Any]] = self.json("history", name, "-n", "10000")["runs"]
        return found

    def end(self) -> None:
        """End all nodes."""
        for node in self.nodes:
            node.kill()
            node.wait()
