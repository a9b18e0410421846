"""One run: its parts, each with all servers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.benchmarks.reload import sites
from tests.benchmarks.reload.browser import Browser, open_browser
from tests.benchmarks.reload.edits import KINDS, URLS, VIEW
from tests.benchmarks.reload.idle import idle
from tests.benchmarks.reload.loaded import reload_under_load
from tests.benchmarks.reload.peers import DUCK, Peer, Place, Running
from tests.benchmarks.reload.results import Results
from tests.benchmarks.reload.waiting import edit
from tests.benchmarks.servers import Failed, Missing

if TYPE_CHECKING:
    from tests.projects.recipes import Project

_WARM_UPS: Final = 3
OFTEN: Final = (VIEW, URLS)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How much is done.

    Attributes:
        edits: rounds; in each, a view and the URLconf are edited with the servers that are `measured_often`, and in
            every third one templates as well, and all of it with the others.
        reloads: under load, of Duck; `peer_reloads`: of each other server.
        idle_s: how long nothing is done.
        files: in the tree of the idle servers.
    """

    edits: int
    reloads: int
    peer_reloads: int
    idle_s: float
    files: int


WHOLE: Final = Plan(edits=30, reloads=100, peer_reloads=10, idle_s=20.0, files=20_000)
SHORT: Final = Plan(edits=5, reloads=10, peer_reloads=3, idle_s=10.0, files=20_000)


class Bench:
    """Its parts may be run in any order; what they find is added to `results`."""

    def __init__(
        self, plan: Plan, projects: dict[str, Project], peers: Sequence[Peer], directory: Path, say: Say
    ) -> None:
        self.results = Results()
        self._plan = plan
        self._projects = projects
        self._peers = peers
        self._directory = directory
        self._say = say
        self._places = 0

    async def measure_edits(self, site: str) -> None:
        """All servers run; each file is edited with one after the other, and each round begins with another."""
        with self._running(site, self._peers) as servers:
            browsers: dict[str, Browser] = {}
            for server in servers:
                await self._warm_up(server, browsers)
            for number in range(self._plan.edits):
                turn = number % len(servers) if servers else 0
                for kind in KINDS:
                    for server in servers[turn:] + servers[:turn]:
                        is_often = server.peer.measured_often and kind in OFTEN
                        if kind not in server.peer.files or server.name in self.results.failed:
                            continue
                        if is_often or number % 3 == 0:
                            await self._edit(site, kind, server, browsers)
                self._say(f"{site}, round {number + 1} of {self._plan.edits}: {self._last(site)}")
            for browser in browsers.values():
                await browser.close()

    async def measure_idle(self, site: str) -> None:
        """All servers run, each with a large tree of its own, and nothing happens."""
        with self._running(site, self._peers, files=self._plan.files) as servers:
            found = await idle(servers, self._plan.idle_s)
        for server, each in zip(servers, found, strict=True):
            self.results.idle[site, server.name] = each
            self._say(f"idle: {site}, {server.name}, {each.part * 100:.2f} % of a core")

    async def measure_load(self, site: str) -> None:
        """Servers run one after the other: each has the machine for itself."""
        for peer in self._peers:
            reloads = self._plan.reloads if peer.name == DUCK else self._plan.peer_reloads
            with self._running(site, [peer]) as servers:
                for server in servers:
                    try:
                        self.results.loaded[server.name] = await reload_under_load(server, reloads, say=self._say)
                    except Failed as failed:
                        self._fail(server.name, failed)

    # -- below --------------------------------------------------------------------------------------------------------

    async def _warm_up(self, server: Running, browsers: dict[str, Browser]) -> None:
        """An edit that does not count, again where it was not seen: what watches may begin after what answers."""
        try:
            for _ in range(_WARM_UPS):
                if (await edit(server, VIEW)).took_s is not None:
                    break
            browser = await open_browser(server)
        except Failed as failed:
            self._fail(server.name, failed)
        else:
            if browser is not None:
                browsers[server.name] = browser

    async def _edit(self, site: str, kind: str, server: Running, browsers: dict[str, Browser]) -> None:
        try:
            found = await edit(server, kind, browsers.get(server.name))
        except Failed as failed:
            self._fail(server.name, failed)
        else:
            self.results.row(site, kind, server.name).edits.append(found)

    @contextlib.contextmanager
    def _running(self, site: str, peers: Sequence[Peer], *, files: int = 0) -> Iterator[list[Running]]:
        """Servers with a copy of the site each; those that cannot be had, or fail, are named in the results."""
        with contextlib.ExitStack() as ends:
            servers = []
            for peer in peers:
                if peer.name in self.results.missing or peer.name in self.results.failed:
                    continue
                if peer.sites and site not in peer.sites:
                    continue
                try:
                    server = self._make(site, peer, files)
                    ends.callback(server.stop)
                    server.start()
                except Missing as missing:
                    self.results.missing[peer.name] = str(missing)
                    self._say(f"{peer.name} is left out: {missing}")
                except Failed as failed:
                    self._fail(peer.name, failed)
                else:
                    self.results.versions[peer.name] = server.version
                    servers.append(server)
            yield servers

    def _make(self, site: str, peer: Peer, files: int) -> Running:
        self._places += 1
        directory = self._directory / f"{self._places}"
        directory.mkdir()
        made = self._projects[site]
        project = sites.copy(made.directory, directory / "site")
        running = Running(peer, Place(project, peer.python(made.python), directory))
        if files:
            sites.fill(project, files)
        return running

    def _fail(self, name: str, failed: Failed) -> None:
        self.results.failed[name] = str(failed)
        self._say(f"{name} failed: {failed}")

    def _last(self, site: str) -> str:
        figures = []
        for row in self.results.rows:
            if row.site == site and row.edits:
                took_s = row.edits[-1].took_s
                figures.append(f"{row.kind} {row.name} {'never' if took_s is None else f'{took_s * 1000:.0f}'}")
        return f"{', '.join(figures)} ms"
