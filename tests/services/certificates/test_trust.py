"""Which stores are changed on which system, by which commands; and the databases of browsers, for real."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from duck.services.certificates.local_authority import LocalAuthority
from duck.services.certificates.trust import DONE, FAILED, NOT_DONE, Machine, Step, carry_out, plan

NAME = "Duck local authority 0123abcd"
CA = Path("/state/ca.pem")


@pytest.fixture
def machine(tmp_path: Path) -> Callable[..., Machine]:
    def make(platform: str = "linux", *programs: str, is_root: bool = True, has: bool = True) -> Machine:
        home, root = tmp_path / "home", tmp_path / "root"
        home.mkdir(exist_ok=True)
        root.mkdir(exist_ok=True)
        known = {program: f"/usr/bin/{program}" for program in programs}
        return Machine(platform, home, root, is_root, known.get, lambda place, name: has)

    return make


def make_database(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "cert9.db").touch()
    return path


@pytest.mark.parametrize(
    ("directory", "program", "gather", "after"),
    [
        ("usr/local/share/ca-certificates", "update-ca-certificates", [], ["--fresh"]),
        ("etc/pki/ca-trust/source/anchors", "update-ca-trust", ["extract"], []),
        ("etc/ca-certificates/trust-source/anchors", "trust", ["extract-compat"], []),
        ("usr/share/pki/trust/anchors", "update-ca-certificates", [], []),
    ],
)
def test_each_distribution_has_its_directory_and_command(
    machine: Callable[..., Machine], directory: str, program: str, gather: list[str], after: list[str]
) -> None:
    linux = machine("linux", program)
    (linux.root / directory).mkdir(parents=True)
    target = linux.root / directory / "duck-local-authority-0123abcd.crt"
    made = plan(linux, CA, NAME)
    assert [step.command for step in made.steps] == [
        ("install", "-m", "0644", str(CA), str(target)),
        (program, *gather),
    ]
    assert not made.omissions
    assert not plan(linux, CA, NAME, removes=True).steps  # it is not there
    target.touch()
    removal = plan(linux, CA, NAME, removes=True)
    assert [step.command for step in removal.steps] == [("rm", "-f", str(target)), (program, *gather, *after)]


def test_who_is_not_root_is_told_that_sudo_is_used_and_without_it_what_root_has_to_run(
    machine: Callable[..., Machine],
) -> None:
    linux = machine("linux", "update-ca-certificates", "sudo", is_root=False)
    (linux.root / "usr/local/share/ca-certificates").mkdir(parents=True)
    assert all(step.command[0] == "sudo" for step in plan(linux, CA, NAME).steps)
    without = machine("linux", "update-ca-certificates", is_root=False)
    made = plan(without, CA, NAME)
    assert not made.steps
    assert "as root, run: install -m 0644 /state/ca.pem" in made.omissions[0]
    assert "&& update-ca-certificates" in made.omissions[0]


def test_an_unknown_system_is_told_of(machine: Callable[..., Machine]) -> None:
    made = plan(machine("linux"), CA, NAME)
    assert not made.steps
    assert "The system's store was not found" in made.omissions[0]


def test_the_keychain_of_macos(machine: Callable[..., Machine]) -> None:
    mac = machine("darwin")
    (step,) = plan(mac, CA, NAME).steps
    assert step.command[:6] == ("security", "add-trusted-cert", "-r", "trustRoot", "-p", "ssl")
    (step,) = plan(mac, CA, NAME, removes=True).steps
    assert step.command == ("security", "remove-trusted-cert", str(CA))


def test_the_users_store_of_windows(machine: Callable[..., Machine]) -> None:
    windows = machine("win32")
    make_database(windows.home / ".pki/nssdb")  # certutil is another program there
    (step,) = plan(windows, CA, NAME).steps
    assert step.command == ("certutil", "-user", "-addstore", "Root", str(CA))
    (step,) = plan(windows, CA, NAME, removes=True, sha1="ab12").steps
    assert step.command == ("certutil", "-user", "-delstore", "Root", "ab12")


def test_browsers_databases_are_found_where_they_are(machine: Callable[..., Machine]) -> None:
    linux = machine("linux", "certutil")
    places = [
        make_database(linux.home / place)
        for place in (
            ".pki/nssdb",
            ".mozilla/firefox/abc.default",
            "snap/firefox/common/.mozilla/firefox/x.default",
            ".var/app/org.mozilla.firefox/.mozilla/firefox/y.default",
        )
    ]
    (linux.home / ".mozilla/firefox/no-database").mkdir()
    made = plan(linux, CA, NAME)
    assert [step.store for step in made.steps] == [str(place) for place in places]
    assert made.steps[0].command == (
        *("certutil", "-A", "-d", f"sql:{places[0]}", "-t", "C,,", "-n", NAME, "-i", str(CA)),
    )
    assert len(plan(linux, CA, NAME, removes=True).steps) == 4
    assert not plan(machine("linux", "certutil", has=False), CA, NAME, removes=True).steps
    without = plan(machine("linux"), CA, NAME)
    assert any("install libnss3-tools" in sentence for sentence in without.omissions)


def test_after_a_failure_the_rest_of_that_store_is_left_and_others_go_on() -> None:
    steps = [Step("a", "1", ("one",)), Step("a", "2", ("two",)), Step("b", "3", ("three",))]
    ran: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> tuple[int, str]:
        ran.append(command)
        return (1, "no right") if command == ("one",) else (0, "fine")

    results = list(carry_out(steps, run))
    assert [(result.outcome, result.said) for result in results] == [(FAILED, "no right"), (NOT_DONE, ""), (DONE, "")]
    assert ran == [("one",), ("three",)]


def test_a_command_that_is_not_there_is_a_failure_that_says_so() -> None:
    (result,) = carry_out([Step("a", "1", ("no-such-command-at-all",))])
    assert result.outcome == FAILED
    assert "No such file" in result.said


class TestDatabase:
    """With NSS's own certutil."""

    @pytest.fixture
    def database(self, tmp_path: Path) -> Path:
        if shutil.which("certutil") is None:
            pytest.skip("certutil of NSS is not on this machine (apt-get install libnss3-tools)")
        place = tmp_path / "home" / ".pki" / "nssdb"
        place.mkdir(parents=True)
        subprocess.run(["certutil", "-N", "-d", f"sql:{place}", "--empty-password"], check=True)
        return place

    def test_a_browser_believes_the_leaf_then_and_no_longer_afterwards(self, database: Path, state: Path) -> None:
        authority = LocalAuthority.find_or_make(state, machine=())
        pair = authority.leaf(["localhost"])
        linux = Machine("linux", database.parents[1], database.parents[1] / "none", True, shutil.which, in_database)

        def believed() -> bool:
            import_leaf = ["certutil", "-A", "-d", f"sql:{database}", "-t", ",,", "-n", "leaf", "-i", str(pair.chain)]
            subprocess.run(import_leaf, check=True)
            command = ["certutil", "-V", "-d", f"sql:{database}", "-n", "leaf", "-u", "V", "-e"]
            done = subprocess.run(command, capture_output=True, check=False)
            subprocess.run(["certutil", "-D", "-d", f"sql:{database}", "-n", "leaf"], check=True)
            return done.returncode == 0

        assert not believed()
        for _ in range(2):  # once more does no harm
            results = list(carry_out(plan(linux, authority.path, authority.name).steps))
            assert [result.outcome for result in results] == [DONE], results
        assert believed()
        removal = plan(linux, authority.path, authority.name, removes=True)
        assert [result.outcome for result in carry_out(removal.steps)] == [DONE]
        assert not believed()
        assert not plan(linux, authority.path, authority.name, removes=True).steps


def in_database(place: Path, name: str) -> bool:
    return Machine.this(home=place, is_root=True).has(place, name)
