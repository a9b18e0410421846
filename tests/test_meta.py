"""What the running App publishes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from duck.meta import Meta


@pytest.fixture(autouse=True)
def no_facts() -> Iterator[None]:
    before = Meta.compile()
    Meta.clear()
    yield
    Meta.clear()
    Meta.update_meta(before)


def test_facts_are_told_and_read_by_name() -> None:
    Meta.update_meta({"DUCK_SERVER_PORT": 1})
    Meta.set_metadata("DUCK_PROCESS_ID", 2)
    assert Meta.get_metadata("DUCK_PROCESS_ID") == 2
    assert Meta.get_metadata("DUCK_NAME", "x") == "x"
    assert Meta.compile() == {"DUCK_SERVER_PORT": 1, "DUCK_PROCESS_ID": 2}


@pytest.mark.parametrize(
    ("domain", "port", "protocol", "url", "ws_url"),
    [
        ("localhost", 8000, "http", "http://localhost:8000", "ws://localhost:8000"),
        ("example.org", 80, "http", "http://example.org", "ws://example.org"),
        ("example.org", 443, "https", "https://example.org", "wss://example.org"),
        ("::1", 8000, "http", "http://[::1]:8000", "ws://[::1]:8000"),
    ],
)
def test_the_url_leaves_out_the_port_of_the_scheme(
    domain: str, port: int, protocol: str, url: str, ws_url: str
) -> None:
    assert Meta.get_absolute_server_url() == ""
    Meta.update_meta(
        {"DUCK_SERVER_DOMAIN": domain, "DUCK_SERVER_PORT": port, "DUCK_SERVER_PROTOCOL": protocol},
    )
    assert (Meta.get_absolute_server_url(), Meta.get_absolute_ws_server_url()) == (url, ws_url)
