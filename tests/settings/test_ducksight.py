"""Settings of DuckSight."""

from pathlib import Path

import pytest

from duck.exceptions import SettingsError
from duck.settings.ducksight import ducksight
from duck.settings.load import load


def test_it_is_on_in_development_and_never_in_production(tmp_path: Path) -> None:
    assert ducksight(load({}, {}, tmp_path)).enabled
    assert not ducksight(load({"DUCKSIGHT": False}, {}, tmp_path)).enabled
    assert not ducksight(load({"MODE": "serve"}, {}, tmp_path)).enabled
    assert not ducksight(load({"MODE": "serve", "DUCKSIGHT": True}, {}, tmp_path)).enabled


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("172.17.0.1", ("172.17.0.1/32",)),
        ("172.17.0.0/16, fd00::/8", ("172.17.0.0/16", "fd00::/8")),
        ("Shop.Test.", ("shop.test",)),
        ("host-1", ("host-1",)),
    ],
)
def test_addresses_networks_and_names_are_allowed(tmp_path: Path, written: str, read: tuple[str, ...]) -> None:
    assert ducksight(load({}, {"DUCK_DUCKSIGHT_ALLOWED": written}, tmp_path)).allowed == read


@pytest.mark.parametrize(
    "written", ["172.17.0.1/16", "999.1.1.1", "*", "*.test", "-a", "a b", "shop.test:8000", "http://shop.test"]
)
def test_what_is_neither_is_refused_with_what_is_right(tmp_path: Path, written: str) -> None:
    with pytest.raises(SettingsError, match=r"give an address, a network like .* or a host name"):
        load({"DUCKSIGHT_ALLOWED": [written]}, {}, tmp_path)


def test_only_known_editors_are_taken(tmp_path: Path) -> None:
    assert ducksight(load({"DUCKSIGHT_EDITOR": "Zed"}, {}, tmp_path)).editor == "zed"
    with pytest.raises(SettingsError, match="give one of auto, vscode"):
        load({"DUCKSIGHT_EDITOR": "rm -rf"}, {}, tmp_path)
