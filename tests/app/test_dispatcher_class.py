"""Which class dispatches automations."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from duck.app.dispatcher_class import dispatcher_class
from duck.exceptions import SettingsError
from duck.services.automations.dispatcher import Dispatcher
from duck.settings.load import load


def named(directory: Path, name: str) -> type[Dispatcher]:
    return dispatcher_class(load({"AUTOMATION_DISPATCHER": name}, {}, directory))


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "of_a_test.py").write_text(
        "from duck.services.automations.dispatcher import Dispatcher\nclass Own(Dispatcher): ...\nother = dict\n"
    )
    monkeypatch.delitem(sys.modules, "of_a_test", raising=False)
    return tmp_path


def test_it_is_ducks_own_by_default_and_by_the_name_that_is_known_from_before(directory: Path) -> None:
    assert dispatcher_class(load({}, {}, directory)) is Dispatcher
    assert named(directory, "duck.automation.dispatcher.DispatcherV1") is Dispatcher


def test_it_may_be_one_derived_from_it_in_a_module_of_the_project(directory: Path) -> None:
    own = named(directory, "of_a_test.Own")
    assert issubclass(own, Dispatcher) and own.__name__ == "Own"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("of_a_test.other", "which is no class derived from duck.services.automations.dispatcher.Dispatcher."),
        ("of_a_test.Nobody", "which cannot be imported: AttributeError: module 'of_a_test' has no attribute 'Nobody'."),
        ("nowhere.Own", "which cannot be imported: ModuleNotFoundError: No module named 'nowhere'."),
    ],
)
def test_a_wrong_one_is_one_sentence(directory: Path, name: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as told:
        named(directory, name)
    assert str(told.value) == f"command line AUTOMATION_DISPATCHER: AUTOMATION_DISPATCHER is {name}, {sentence}"


def test_what_is_no_dotted_name_is_refused_where_settings_are_read(directory: Path) -> None:
    with pytest.raises(SettingsError, match="AUTOMATION_DISPATCHER cannot be 'Own': give the dotted name of a class"):
        named(directory, "Own")
