"""How names are proved: files and their leavings, and a command with its faults."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from duck.exceptions import CertificateError
from duck.services.certificates.challenge import DnsHook, HttpProver


class TestFiles:
    def test_one_is_there_while_the_authority_may_ask(self, tmp_path: Path) -> None:
        prover = HttpProver(tmp_path / "challenges")
        prover.present("a.test", "token-1_2", "token-1_2.print")
        path = tmp_path / "challenges" / "token-1_2"
        assert path.read_text() == "token-1_2.print"
        assert path.stat().st_mode & 0o777 == 0o600
        prover.remove("a.test", "token-1_2", "token-1_2.print")
        prover.remove("a.test", "token-1_2", "token-1_2.print")
        assert not path.exists()

    @pytest.mark.parametrize("token", ["", "../x", "a/b", "a.b", "a" * 129, "\n"])
    def test_a_token_that_is_none_is_refused(self, tmp_path: Path, token: str) -> None:
        with pytest.raises(CertificateError, match="a token that is none"):
            HttpProver(tmp_path / "challenges").present("a.test", token, "x")
        assert not list(tmp_path.iterdir())

    def test_what_a_killed_pass_has_left_goes_after_a_day(self, tmp_path: Path) -> None:
        prover = HttpProver(tmp_path)
        prover.present("a.test", "old", "x")
        prover.present("a.test", "young", "x")
        then = time.time() - 90_000
        os.utime(tmp_path / "old", (then, then))
        prover.present("a.test", "new", "x")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "young"]


class TestHook:
    def hook(self, code: str, timeout_s: float = 20.0) -> DnsHook:
        return DnsHook([sys.executable, "-c", code], 0.0, timeout_s=timeout_s)

    def test_it_is_told_all_by_variables(self, tmp_path: Path) -> None:
        out = str(tmp_path / "out")
        hook = self.hook(
            "import os; told = {k: v for k, v in os.environ.items() if k.startswith('DUCK_ACME_')};"
            f"open({out!r}, 'a').write(repr(sorted(told.items())) + chr(10))"
        )
        hook.present("*.a.test", "token", "value")
        hook.remove("*.a.test", "token", "value")
        shared = [("DUCK_ACME_DOMAIN", "a.test"), ("DUCK_ACME_NAME", "_acme-challenge.a.test")]
        assert (tmp_path / "out").read_text().splitlines() == [
            repr([("DUCK_ACME_ACTION", action), *shared, ("DUCK_ACME_VALUE", "value")])
            for action in ("present", "remove")
        ]

    def test_a_failure_is_told_with_what_it_wrote(self) -> None:
        with pytest.raises(
            CertificateError, match=r"ended with 3 when it was to present _acme-challenge\.a\.test: no zone"
        ) as caught:
            self.hook("import sys; print('no zone', file=sys.stderr); sys.exit(3)").present("a.test", "t", "v")
        assert caught.value.kind == "hook"
        self.hook("raise SystemExit(1)").remove("a.test", "t", "v")  # nothing that could be done

    def test_one_that_hangs_is_ended_and_who_it_has_started_is_not_waited_for(self) -> None:
        began = time.monotonic()
        with pytest.raises(CertificateError, match=r"has not ended after 0\.5 s"):
            DnsHook(["sh", "-c", "sleep 45; true"], 0.0, timeout_s=0.5).present("a.test", "t", "v")
        assert time.monotonic() - began < 40

    def test_one_that_is_not_there_is_told(self) -> None:
        with pytest.raises(CertificateError, match="cannot be run: No such file"):
            DnsHook(["/no/such/command"], 0.0).present("a.test", "t", "v")
