"""Versions and their processes as plain values, for an exec that replaces Duck and leaves Django running."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from duck.backend.django.version import COMING, GONE, SERVING, Member, Version
from duck.proxy.upstream import Upstream
from duck.services.plain_values import revived

if TYPE_CHECKING:
    from duck.backend.django.child import DjangoProcess


def versions_to_values(versions: Iterable[Version]) -> dict[str, Any]:
    """All `versions`, and the descriptors that have to stay open over the exec."""
    told = [version_to_values(version) for version in versions]
    handles = [member["process"]["handles"] for version in told for member in version["members"]]
    names = ("control", "output", "lifeline", "stack")
    return {"versions": told, "descriptors": [one[name] for one in handles for name in names]}


def versions_from_values(
    values: Mapping[str, Any], adopt: Callable[[Version, Mapping[str, Any]], None]
) -> list[Version]:
    """Those that have processes or serve; `adopt(version, values)` takes each of their processes."""
    versions = []
    for told in values["versions"]:
        version = version_from_values(told)
        for value in told["members"]:
            adopt(version, value)
        versions.append(version)
    return [version for version in versions if version.members or version.state == SERVING]


def version_to_values(version: Version) -> dict[str, Any]:
    """`version` as JSON can carry it; the descriptors of its processes stay open over an exec from now on.

    What has not come yet is gone: the Duck that takes over ends it.
    """
    return {
        "number": version.number,
        "state": _after(version.state),
        "facts": version.facts,
        "places": [
            {
                "role": place.role,
                "index": place.index,
                "upstream": _to_values(place.upstream),
                "finder": _to_values(place.finder),
            }
            for place in version.places
        ],
        "members": [
            {
                "role": member.place.role,
                "index": member.place.index,
                "state": _after(member.state),
                "since": member.since,
                "until": member.until,
                "max_requests": member.max_requests,
                "process": member.process.hand_over(),
            }
            for member in version.members
        ],
    }


def version_from_values(values: Mapping[str, Any]) -> Version:
    """The version, without its processes."""
    version = Version(values["number"], state=values["state"], facts=values["facts"])
    for value in values["places"]:
        place = version.place(value["role"], value["index"])
        place.upstream, place.finder = _from_values(value["upstream"]), _from_values(value["finder"])
    return version


def member_from_values(version: Version, process: DjangoProcess, values: Mapping[str, Any]) -> Member:
    """One process of `version`, at the place that it had."""
    return Member(
        process,
        version.place(values["role"], values["index"]),
        state=values["state"],
        since=values["since"],
        until=values["until"],
        max_requests=values["max_requests"],
    )


def _after(state: str) -> str:
    return GONE if state == COMING else state


def _to_values(upstream: Upstream | None) -> dict[str, Any] | None:
    return None if upstream is None else asdict(upstream)


def _from_values(values: Mapping[str, Any] | None) -> Upstream | None:
    return None if values is None else revived(Upstream, values)
