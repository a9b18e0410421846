"""What an App counted and is, as Prometheus reads it.

The front workers count (`duck.net.stats`) and tell the App. What a worker counted stays counted when it has ended, so
that no count goes backwards but by a start of Duck itself. Labels have few values: methods, classes of status, roles of
processes; never anything that a client chooses. For the thread that owns the App.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from duck.net.stats import BYTES, SECONDS, merge
from duck.services.automation_metrics import automation_families
from duck.services.automations.labels import bounded
from duck.services.families import counter, exposition, gauge, histogram

if TYPE_CHECKING:
    from prometheus_client.core import Metric

STATES: Final = ("starting", "running", "holding", "broken", "stopping")
_CLASSES: Final = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
_NOW: Final = "now"

# Name, key of the snapshot, help.
_HISTOGRAMS: Final = (
    ("duck_request_duration_seconds", "duration", SECONDS, "From a request's head to the end of its answer."),
    ("duck_response_size_bytes", "answer", BYTES, "Bytes of answers' bodies."),
    ("duck_backend_duration_seconds", "upstream", SECONDS, "From sending a request to a backend to its answer's head."),
    ("duck_queue_wait_seconds", "wait", SECONDS, "How long requests to backends stood in the queue for a slot."),
)
_COUNTERS: Final = (
    ("duck_request_body_bytes", "received_bytes", "Bytes of requests' bodies."),
    ("duck_file_responses", "files", "Requests answered by Duck itself from static and media files."),
    ("duck_responses_cut", "cut", "Requests whose answer could not be completed."),
    ("duck_clients_gone", "clients_gone", "Requests whose client left, or was cut off, before their end."),
    (
        "duck_requests_refused",
        "refused",
        "Requests whose head could not be understood, or went beyond a limit.",
    ),
    ("duck_backend_retries", "retries", "Requests sent a second time, the connection having died under the first."),
)
_CONNECTIONS: Final = (
    ("duck_connections_accepted", "accepted", "Client connections taken."),
    ("duck_connections_refused", "crowded_out", "Client connections answered 503, being more than MAX_CONNECTIONS."),
    ("duck_upgrades", "upgraded", "Client connections that left HTTP for WebSocket."),
)
_TLS: Final = (
    ("duck_tls_handshakes", "handshakes", "TLS handshakes that were completed."),
    ("duck_tls_handshakes_failed", "failed", "TLS connections that ended before that, plain HTTP among them."),
)
_GAUGES: Final = (
    ("duck_connections", "connections", "Client connections that are open, upgraded ones included."),
    ("duck_upgraded_connections", "tunnels", "Client connections that have left HTTP and are open."),
    ("duck_requests_in_flight", "in_flight", "Requests that are under way."),
    ("duck_requests_held", "held", "Requests that wait until Django is there."),
    ("duck_queue_length", "waiting", "Requests that wait for a slot of a backend."),
    ("duck_backend_slots", "slots", "Requests that the backends can work on at once, as the front workers see it."),
    ("duck_backend_slots_busy", "busy", "Requests that the backends work on."),
    ("duck_front_loops", "loops", "Loops that serve clients."),
)


class Tally:
    """The sum of what many sources count, each told again and again by its latest snapshot, ended ones included.

    Args:
        kept: the `counts` of an earlier one that this one goes on from.
        bounded: makes what ended sources have counted no longer than is right, given it and what was added last.
    """

    def __init__(
        self,
        kept: Mapping[str, Any] | None = None,
        bounded: Callable[[dict[str, Any], Mapping[str, Any]], dict[str, Any]] = lambda counts, latest: counts,
    ) -> None:
        self._bounded = bounded
        self._ended: dict[str, Any] = dict(kept or {})
        self._latest: dict[Hashable, Mapping[str, Any]] = {}

    def update(self, source: Hashable, snapshot: Mapping[str, Any]) -> None:
        """`source` has counted so much, all in all; a source that begins anew needs another name."""
        self._latest[source] = snapshot

    def ended(self, source: Hashable) -> None:
        """`source` counts no more: what it counted stays, what it had `now` is gone."""
        snapshot = self._latest.pop(source, None)
        if snapshot is not None:
            self._ended = self._bounded(merge((self._ended, _without_now(snapshot))), snapshot)

    @property
    def sources(self) -> set[Hashable]:
        """Who has counted, and has not ended."""
        return set(self._latest)

    @property
    def total(self) -> dict[str, Any]:
        """All that was counted, and what is `now`."""
        return merge((self._ended, *self._latest.values()))

    @property
    def counts(self) -> dict[str, Any]:
        """All that was counted, to go on from."""
        return _without_now(self.total)


class Metrics:
    """The figures of an App.

    Args:
        version: of Duck.
        started: when the App was started, in seconds since 1970.
        kept: `counts` of the App that this one replaces.

    Attributes:
        fronts: what the front workers count, by any name that no other of them has or had: `Server.snapshot`.
        automations: the same of dispatchers of automations: `Figures.snapshot`.
    """

    def __init__(self, version: str, started: float, *, kept: Mapping[str, Any] | None = None) -> None:
        kept = kept or {}
        self.fronts = Tally(kept.get("fronts"))
        self.automations = Tally(kept.get("automations"), bounded)
        self._processes = Tally(kept.get("processes"))
        self._version = version
        self._started = started

    @property
    def counts(self) -> dict[str, Any]:
        """What must not be lost where this process goes on as another program; plain values."""
        return {
            "fronts": self.fronts.counts,
            "automations": self.automations.counts,
            "processes": self._processes.counts,
        }

    def exposition(
        self,
        *,
        state: str,
        processes: Iterable[Mapping[str, Any]] = (),
        restarts: Mapping[str, int] | None = None,
        succeeded: Mapping[str, float] | None = None,
    ) -> bytes:
        """All figures in the text format of Prometheus, version 0.0.4.

        Args:
            state: one of STATES.
            processes: what `describe_process` tells of each, `generation` besides where it has one.
            restarts: how often a process was replaced that had ended by itself, by role.
            succeeded: when automations have succeeded last, in seconds since 1970, by their names.
        """
        processes = list(processes)
        self._add_up(processes)
        families = list(self._families(state, processes, restarts or {}))
        if self.automations.total:
            families += automation_families(self.automations.total, succeeded or {})
        return exposition(families)

    def _add_up(self, processes: list[Mapping[str, Any]]) -> None:
        """Keep the processor time of processes that have ended since they were last seen."""
        seen = {(one["role"], one["pid"]): float(one["cpu_s"]) for one in processes if "cpu_s" in one}
        for source in self._processes.sources - set(seen):
            self._processes.ended(source)
        for (role, pid), seconds in seen.items():
            self._processes.update((role, pid), {"cpu_s": {role: seconds}})

    def _families(
        self, state: str, processes: list[Mapping[str, Any]], restarts: Mapping[str, int]
    ) -> Iterator[Metric]:
        yield gauge("duck_info", "The version that runs.", [({"version": self._version}, 1)])
        yield gauge("duck_start_time_seconds", "When Duck was started, since 1970.", [({}, self._started)])
        yield gauge(
            "duck_state", "1 for the state that Duck is in.", [({"state": one}, int(one == state)) for one in STATES]
        )
        yield from _front_families(self.fronts.total)
        yield from _process_families(processes, self._processes.total.get("cpu_s", {}), restarts)


def _front_families(total: Mapping[str, Any]) -> Iterator[Metric]:
    requests = total.get("requests", {})
    yield counter(
        "duck_requests",
        "Requests that have ended, by method and class of status; none: nothing was answered.",
        [
            ({"method": method, "status": name}, count)
            for method, counts in requests.items()
            for name, count in zip(_CLASSES, counts, strict=False)
        ],
    )
    for name, key, bounds, text in _HISTOGRAMS:
        yield histogram(name, text, bounds, total.get(key, {}))
    for name, key, text in _COUNTERS:
        yield counter(name, text, [({}, total.get(key, 0))])
    yield counter(
        "duck_backend_failures",
        "Requests that a backend failed, by the status that says how.",
        [({"status": status}, count) for status, count in total.get("backend_failures", {}).items()],
    )
    connections = total.get("connections", {})
    for name, key, text in _CONNECTIONS:
        yield counter(name, text, [({}, connections.get(key, 0))])
    for name, key, text in _TLS:
        yield counter(name, text, [({}, total.get("tls", {}).get(key, 0))])
    now = total.get(_NOW, {})
    for name, key, text in _GAUGES:
        yield gauge(name, text, [({}, now.get(key, 0))])
    generations = {int(number): loops for number, loops in now.get("generations", {}).items()}
    newest = max(generations, default=0)
    yield gauge("duck_generation", "The newest generation of Django that requests are sent to.", [({}, newest)])
    behind = sum(generations.values()) - generations.get(newest, 0)
    yield gauge("duck_front_loops_behind", "Loops that still send to an older generation.", [({}, behind)])


def _process_families(
    processes: list[Mapping[str, Any]], cpu: Mapping[str, float], restarts: Mapping[str, int]
) -> Iterator[Metric]:
    running = [one for one in processes if one.get("state") != "gone"]
    roles = sorted({str(one["role"]) for one in processes} | set(cpu) | set(restarts))
    yield gauge(
        "duck_processes",
        "Processes that run, by role.",
        [({"role": role}, sum(one["role"] == role for one in running)) for role in roles],
    )
    yield counter(
        "duck_process_cpu_seconds",
        "Processor time, user and system, of all processes of a role, those that have ended included.",
        [({"role": role}, cpu.get(role, 0.0)) for role in roles],
    )
    yield counter(
        "duck_process_restarts",
        "Processes that ended by themselves and were replaced, by role.",
        [({"role": role}, restarts.get(role, 0)) for role in roles],
    )
    for name, key, text in (
        ("duck_process_memory_bytes", "memory_bytes", "Memory that a process holds alone."),
        ("duck_process_uptime_seconds", "uptime_s", "How long a process runs."),
        ("duck_process_generation", "generation", "The generation that a Django process is of."),
    ):
        told = [({"role": str(one["role"]), "pid": str(one["pid"])}, one[key]) for one in running if key in one]
        yield gauge(name, text, told)


def _without_now(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in snapshot.items() if key != _NOW}
