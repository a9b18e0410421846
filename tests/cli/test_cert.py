"""`duck cert`, as users and programs call it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from duck.services.certificates.store import CertificateStore
from tests.services.certificates.pebble import Pebble, challenges, running_pebble

if TYPE_CHECKING:
    from tests.app.conftest import Duck

# An authority takes its time, and so do processes on a busy machine.
pytestmark = pytest.mark.timeout(180)

Ask = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with running_pebble(tmp_path_factory.mktemp("pebble")) as made:
        yield made


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state" / "duck"


@pytest.fixture
def cert(tmp_path: Path, environ: dict[str, str]) -> Ask:
    def run(*arguments: str, cwd: Path = tmp_path, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "duck", "cert", *arguments],
            cwd=cwd,
            env={**environ, **variables},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


NOBODY = "https://127.0.0.1:1/dir"


def of(pebble: Pebble) -> dict[str, str]:
    """The variables that name the authority."""
    return {"DUCK_ACME_DIRECTORY": pebble.directory, "DUCK_ACME_CA_FILE": str(pebble.ca_file)}


class TestLocal:
    def test_it_makes_a_pair_that_stays_where_it_is(self, cert: Ask, state: Path) -> None:
        done = cert("local", "--json")
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["names"] == ["localhost", "127.0.0.1", "::1"]
        assert Path(told["chain"]).read_text().count("BEGIN CERTIFICATE") == 2
        assert Path(told["key"]).stat().st_mode & 0o777 == 0o600
        assert json.loads(cert("local", "--json").stdout) == told
        assert f"Authority    {told['authority']}" in cert("local").stdout
        listed = json.loads(cert("list", "--json").stdout)["certificates"]
        assert [(one["name"], one["kind"]) for one in listed] == [("localhost", "local")]

    def test_one_that_is_damaged_counts_as_absent(self, cert: Ask) -> None:
        chain = Path(json.loads(cert("local", "--json").stdout)["chain"])
        chain.write_bytes(b"x")
        done = cert("list", "--json")
        assert done.returncode == 0 and json.loads(done.stdout) == {"certificates": []}
        assert f"What is in {chain.parent} cannot be read" in done.stderr
        assert cert("local").returncode == 0
        assert len(json.loads(cert("list", "--json").stdout)["certificates"]) == 1

    def test_a_name_that_is_not_local_is_refused(self, cert: Ask) -> None:
        done = cert("local", "example.org")
        assert done.returncode == 1
        assert "The local authority may not speak for example.org" in done.stderr
        assert "Traceback" not in done.stderr
        assert "use example.test" in json.loads(cert("local", "example.org", "--json").stdout)["error"]


class TestTrust:
    @pytest.fixture
    def home(self, tmp_path: Path) -> Path:
        home = tmp_path / "home"
        database = home / ".pki" / "nssdb"
        database.mkdir(parents=True)
        subprocess.run(["certutil", "-N", "-d", f"sql:{database}", "--empty-password"], check=True)
        return home

    @pytest.fixture
    def tools(self, tmp_path: Path) -> str:
        """A PATH with certutil alone: the system's own store is not the tests' to change."""
        program = shutil.which("certutil")
        if program is None:
            pytest.skip("certutil of NSS is not on this machine (apt-get install libnss3-tools)")
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "certutil").symlink_to(program)
        return str(tmp_path / "bin")

    def test_a_dry_run_says_all_and_does_nothing(self, cert: Ask, tools: str, home: Path) -> None:
        done = cert("trust", "--dry-run", HOME=str(home), PATH=tools)
        assert done.returncode == 0, done.stderr
        assert f"Add the authority to {home}/.pki/nssdb." in done.stdout
        assert "certutil -A -d" in done.stdout
        assert "Left out: The system's store was not found" in done.stdout
        assert "done" not in done.stdout
        again = json.loads(cert("untrust", "--dry-run", "--json", HOME=str(home), PATH=tools).stdout)
        assert again["steps"] == []

    def test_it_is_put_in_and_taken_out(self, cert: Ask, tools: str, home: Path) -> None:
        done = json.loads(cert("trust", "--json", HOME=str(home), PATH=tools).stdout)
        assert [step["outcome"] for step in done["steps"]] == ["done"]
        database = f"sql:{home}/.pki/nssdb"
        shown = subprocess.run(["certutil", "-L", "-d", database], capture_output=True, text=True, check=True).stdout
        assert done["authority"] in shown
        removed = cert("untrust", HOME=str(home), PATH=tools)
        assert removed.returncode == 0, removed.stderr
        assert "done      certutil -D" in removed.stdout
        shown = subprocess.run(["certutil", "-L", "-d", database], capture_output=True, text=True, check=True).stdout
        assert done["authority"] not in shown
        assert "is in no store." in cert("untrust", HOME=str(home), PATH=tools).stdout

    def test_a_step_that_fails_is_told_and_is_the_exit_status(self, cert: Ask, tools: str, home: Path) -> None:
        (home / ".pki" / "nssdb" / "cert9.db").write_bytes(b"no database")
        done = cert("trust", HOME=str(home), PATH=tools)
        assert done.returncode == 1
        assert "failed    certutil -A" in done.stdout
        assert "could not be added everywhere" in done.stderr

    def test_without_an_authority_there_is_nothing_to_take_out(self, cert: Ask) -> None:
        done = cert("untrust")
        assert done.returncode == 1
        assert "There is no local authority in" in done.stderr


def test_a_browser_opens_the_developers_site_once_it_is_trusted_and_not_before(
    start: Callable[..., Duck], cert: Ask, project: Path, tmp_path: Path
) -> None:
    """`duck cert trust` and `duck runserver --https`, and nothing else."""
    chromium, certutil = shutil.which("chromium"), shutil.which("certutil")
    if chromium is None or certutil is None:
        pytest.skip("chromium or certutil is not on this machine (apt-get install chromium libnss3-tools)")
    tools, home = tmp_path / "bin", tmp_path / "home"
    tools.mkdir()
    (tools / "certutil").symlink_to(certutil)
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    subprocess.run([certutil, "-N", "-d", f"sql:{database}", "--empty-password"], check=True)
    duck = start(project, "--https")
    url = duck.url

    def opened(host: str) -> str:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        done = subprocess.run(
            [chromium, *options, f"--user-data-dir={tmp_path / 'data'}", "--dump-dom", url.replace("localhost", host)],
            env={**os.environ, "HOME": str(home)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout

    assert "ERR_CERT_AUTHORITY_INVALID" in opened("localhost")
    trusted = cert("trust", HOME=str(home), PATH=str(tools))
    assert trusted.returncode == 0, trusted.stdout + trusted.stderr
    assert "<body>one</body>" in opened("localhost")
    assert "<body>one</body>" in opened("127.0.0.1")
    assert cert("untrust", HOME=str(home), PATH=str(tools)).returncode == 0
    assert "ERR_CERT_AUTHORITY_INVALID" in opened("localhost")


class TestRenew:
    def test_two_names_are_obtained_listed_shown_and_left_alone(self, cert: Ask, pebble: Pebble, state: Path) -> None:
        names = ["--domain", "example.test", "--domain", "www.example.test"]
        with challenges(state, pebble.http_port):
            done = cert("renew", *names, "--agree-tos", "--email", "me@example.test", **of(pebble))
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count("is valid until") == 2
        log = pebble.log
        again = cert("renew", *names, "--json", **of(pebble))
        assert [one["outcome"] for one in json.loads(again.stdout)["outcomes"]] == ["idle", "idle"]
        assert pebble.log == log
        listed = json.loads(cert("list", "--json").stdout)["certificates"]
        assert [one["name"] for one in listed] == ["example.test", "www.example.test"]
        assert listed[0]["due"].startswith("looked at ")
        assert "example.test      acme  20" in cert("list").stdout
        shown = json.loads(cert("show", "example.test", "--json").stdout)
        pair = CertificateStore(state).entry("example.test").pair()
        assert pair is not None
        assert (shown["fingerprint"], shown["directory"]) == (pair.fingerprint, pebble.directory)
        assert Path(shown["chain"]).read_bytes() == pair.chain.read_bytes()
        assert "issuer" in cert("show", "example.test").stdout

    def test_force_orders_anew(self, cert: Ask, pebble: Pebble, state: Path) -> None:
        serials = set()
        with challenges(state, pebble.http_port):
            for _ in range(2):
                done = cert("renew", "example.test", "--force", "--agree-tos", **of(pebble))
                assert done.returncode == 0, done.stderr
                pair = CertificateStore(state).entry("example.test").pair()
                assert pair is not None
                serials.add(pair.serial)
        assert len(serials) == 2

    def test_what_fails_is_told_with_status_1(self, cert: Ask, pebble: Pebble, state: Path) -> None:
        done = cert("renew", "example.test", **of(pebble))
        assert done.returncode == 1
        assert "accept them by --agree-tos" in done.stderr
        done = cert("renew", "shop.test", "--agree-tos")
        assert done.returncode == 1
        assert "No public certificate authority is asked for shop.test" in done.stderr
        done = cert("renew", "--json")
        assert done.returncode == 1
        assert "There is no name to renew" in json.loads(done.stdout)["error"]

    def test_a_name_without_a_certificate_is_listed_with_its_failure(
        self, cert: Ask, pebble: Pebble, state: Path
    ) -> None:
        done = cert("renew", "example.test", "--agree-tos", **{**of(pebble), "DUCK_ACME_DIRECTORY": NOBODY})
        assert done.returncode == 1
        (listed,) = json.loads(cert("list", "--json").stdout)["certificates"]
        assert (listed["name"], listed["kind"], listed["until"]) == ("example.test", "none", "")
        assert "is not reached" in listed["failure"]
        assert re.match(r"ordered \d{4}-", listed["due"])
        assert "is not reached" in cert("show", "example.test").stdout

    def test_the_state_directory_may_lie_below_where_a_command_is_started(self, cert: Ask, tmp_path: Path) -> None:
        done = cert("list", "--state-dir", str(tmp_path / "elsewhere"))
        assert done.returncode == 0, done.stderr

    def test_where_there_is_none_show_says_so(self, cert: Ask) -> None:
        done = cert("show", "example.test")
        assert done.returncode == 1
        assert "There is no certificate for example.test" in done.stderr
        assert cert("list").returncode == 0


class TestDoctor:
    def test_all_is_well(self, cert: Ask, pebble: Pebble, state: Path) -> None:
        port = str(pebble.http_port)
        done = cert(
            *("doctor", "--domain", "example.test", "--nameserver", pebble.dns, "--challenge-port", port), **of(pebble)
        )
        assert done.returncode == 0, done.stdout + done.stderr
        for topic in ("authority", "clock", "name", "port 80", "CAA", "limits", "certificate"):
            assert f"ok      {topic}: " in done.stdout
        assert not state.joinpath("acme", "accounts").exists()  # nothing was ordered, and no account made

    def test_what_is_wrong_is_told_and_is_the_exit_status(self, cert: Ask, pebble: Pebble) -> None:
        pebble.say("add-caa", host="shop.example.test.", policies=[{"tag": "issue", "value": "other.test"}])
        port = str(pebble.http_port)
        done = cert(
            *("doctor", "--json", "--domain", "shop.example.test", "--nameserver", pebble.dns),
            *("--challenge-port", port, "--acme-profile", "short"),
            **of(pebble),
        )
        assert done.returncode == 1
        told = json.loads(done.stdout)
        assert told["ok"] is False
        levels = {finding["topic"]: finding["level"] for finding in told["findings"]}
        assert levels["profile"] == "error"
        assert levels["CAA"] in ("error", "warning")  # pebble does not say by which name it is known
        assert levels["port 80"] == "ok"

    def test_a_name_server_that_is_none_is_one_sentence(self, cert: Ask, pebble: Pebble) -> None:
        done = cert("doctor", "--domain", "example.test", "--nameserver", "dns.test", **of(pebble))
        assert done.returncode == 1
        assert "is no name server; give an address" in done.stderr
        assert os.linesep in done.stderr
