"""Dataclasses through JSON and back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import pytest

from duck.backend.django.handles import WorkerSpec
from duck.http.frontend import FrontendState
from duck.net.tls import TlsConfig
from duck.proxy.upstream import Upstream
from duck.services.plain_values import revived


@dataclass(frozen=True)
class Nested:
    pairs: tuple[tuple[tuple[str, int], ...], ...] = ((("a", 1), ("b", 2)), ())
    one: tuple[str, int] | str | None = None


@pytest.mark.parametrize(
    "value",
    [
        Nested(),
        Nested((), ("host", 80)),
        Nested((((),),), "path"),
        TlsConfig((("chain", "key"),), (("a.example", "b.example"),), protocols=("http/1.1",)),
        Upstream("http", ("127.0.0.1", 80), 4, "one", secret="s"),
        Upstream("link", "/run/one", 4, "one"),
        FrontendState(("127.0.0.1", 5173), base="/app/"),
        FrontendState(None, failure="it is not there"),
        WorkerSpec("/project", None, ("127.0.0.1", 8000), threads=3),
    ],
    ids=str,
)
def test_it_comes_back_equal(value: Any) -> None:
    assert revived(type(value), json.loads(json.dumps(asdict(value)))) == value


def test_what_another_version_has_said_is_no_value_of_this_one() -> None:
    with pytest.raises(TypeError):
        revived(Nested, {"unknown": 1})
