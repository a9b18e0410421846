"""The benchmark measures what it says; short, for its figures mean nothing here."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.benchmarks import load, measure, memory, report, secure, stacks
from tests.benchmarks.load import Load
from tests.benchmarks.measure import Outcome, Ratio, Series
from tests.benchmarks.project import make_site
from tests.benchmarks.rows import ROWS, Row, Site, Wanted
from tests.benchmarks.servers import Failed, Missing, Server, cpu_seconds, resident_bytes
from tests.benchmarks.stacks import RawBackend, Stack

needs_nginx = pytest.mark.skipif(
    not shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"), reason="nginx is not installed"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for all, as one run of the benchmarks has."""
    directory = tmp_path_factory.mktemp("bench")
    backend = RawBackend(directory)
    backend.start()
    yield Site(directory, make_site(directory), backend)
    backend.stop()


def said(sentences: list[str]) -> str:
    return "\n".join(sentences)


def test_the_generator_of_the_tree_counts_answers(site: Site) -> None:
    url = f"http://127.0.0.1:{site.backend.port}/"
    command = [sys.executable, "-m", "tests.benchmarks.generator", url, "4", "0.3"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=stacks.ROOT)
    answers = json.loads(result.stdout)
    assert answers["requests"] > 10
    assert answers["errors"] == 0
    assert 0 < answers["p50_us"] <= answers["p99_us"]


def test_the_backend_in_python_does_what_the_one_in_c_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *arguments, **options: None)
    backend = RawBackend(tmp_path)
    backend.start()
    try:
        assert backend.kind == "Python"
        for path in ("/", "/mb"):
            assert load.run(Load(path, 2), backend.port, 1, tmp_path).errors == 0
    finally:
        backend.stop()


def test_browser_fields_are_twelve_and_about_700_bytes() -> None:
    size = sum(len(name) + len(value) + 4 for name, value in load.BROWSER_FIELDS.items())
    assert len(load.BROWSER_FIELDS) == 12
    assert 600 <= size <= 800


@needs_nginx
def test_a_row_is_measured(site: Site) -> None:
    sentences: list[str] = []
    outcome = measure.measure(
        ROWS["hop"],
        site,
        rounds=2,
        seconds=1,
        access_log=False,
        only=("nginx", "duck's worker alone"),
        say=sentences.append,
    )
    assert not outcome.failed
    for series in outcome.stacks.values():
        assert len(series.value) == 2
        assert all(1 < value < 10_000 for value in series.value)
        assert series.errors == 0
        assert series.peak > 1 << 20
    assert "round 2 of 2" in said(sentences)


def test_granian_and_gunicorn_answer_the_project(site: Site) -> None:
    outcome = measure.measure(
        ROWS["hello"],
        site,
        rounds=1,
        seconds=1,
        access_log=True,
        only=("granian", "gunicorn"),
        warm_up=0,
        say=lambda sentence: None,
    )
    assert not outcome.failed
    assert set(outcome.stacks) | set(outcome.missing) == {"granian", "gunicorn"}
    assert all(series.errors == 0 for series in outcome.stacks.values())


@needs_nginx
def test_memory_is_measured(site: Site) -> None:
    row = Row("idle", "idle", ROWS["idle"].make, grow=lambda stack: memory.idle(stack, 50))
    outcome = measure.measure(
        row, site, rounds=1, seconds=1, access_log=False, only=("nginx + granian",), say=lambda sentence: None
    )
    assert not outcome.failed
    if "nginx + granian" in outcome.missing:
        pytest.skip(outcome.missing["nginx + granian"])
    assert len(outcome.stacks["nginx + granian"].value) == 1


@needs_nginx
@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("tls-hop", ("nginx", "granian, no hop")),
        ("h2-hop", ("nginx", "granian, no hop", "hypercorn, no hop")),
        ("handshake", ("nginx",)),
    ],
)
def test_a_row_over_tls_is_measured(site: Site, name: str, chosen: tuple[str, ...]) -> None:
    outcome = measure.measure(
        secure.ROWS[name],
        site,
        rounds=1,
        seconds=1,
        access_log=False,
        only=chosen,
        warm_up=0,
        say=lambda sentence: None,
    )
    assert not outcome.failed
    assert not outcome.missing
    assert all(series.errors == 0 for series in outcome.stacks.values())
    assert set(outcome.stacks) == set(chosen)


@needs_nginx
def test_paths_that_differ_are_asked_over_http2(site: Site) -> None:
    row = secure.ROWS["h2-hop-varied"]
    outcome = measure.measure(
        row, site, rounds=1, seconds=1, access_log=False, only=("nginx", "duck"), warm_up=0, say=lambda sentence: None
    )
    assert not outcome.failed and not outcome.missing
    assert all(series.errors == 0 and len(series.value) == 1 for series in outcome.stacks.values())


@needs_nginx
def test_idle_connections_over_tls_are_measured(site: Site) -> None:
    row = Row("tls-idle", "idle", secure.ROWS["tls-idle"].make, grow=lambda stack: memory.idle(stack, 50))
    outcome = measure.measure(
        row, site, rounds=1, seconds=1, access_log=False, only=("nginx",), say=lambda sentence: None
    )
    assert not outcome.failed
    assert len(outcome.stacks["nginx"].value) == 1


def test_what_asks_over_tls_is_named_where_it_is_missing(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *arguments, **options: None)
    with pytest.raises(Missing, match="wrk is not installed"):
        load.run(Load("/", 2), site.backend.port, 1, tmp_path, "https")
    with pytest.raises(Missing, match="h2load is not installed"):
        load.run(Load("/", 2, streams=2), site.backend.port, 1, tmp_path, "https")


def test_a_missing_peer_is_left_out_by_name(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *arguments, **options: None)
    sentences: list[str] = []
    outcome = measure.measure(
        ROWS["static-1k"], site, rounds=1, seconds=1, access_log=False, only=("nginx",), say=sentences.append
    )
    assert outcome.missing == {"nginx": "nginx is not installed"}
    assert "nginx is left out: nginx is not installed" in said(sentences)
    assert "- nginx: nginx is not installed." in report.markdown([outcome], {})


def test_a_failing_stack_is_named_and_the_others_are_measured(site: Site) -> None:
    def failing(site: Site, access_log: bool) -> Stack:
        server = Server("broken", [sys.executable, "-c", "raise SystemExit('no reason')"], site.directory)
        return Stack("broken", [(server, ("127.0.0.1", 1))], 1, "broken 1")

    def raw(site: Site, access_log: bool) -> Stack:
        return Stack("raw", [], site.backend.port, "raw 1")

    row = Row("row", "a row", {"broken": failing, "raw": raw}, [Wanted("raw", "broken", 1.0)], load=Load("/", 2))
    outcome = measure.measure(row, site, rounds=1, seconds=1, access_log=False, warm_up=0, say=lambda sentence: None)
    assert "no reason" in outcome.failed["broken"]
    assert list(outcome.stacks) == ["raw"]
    assert outcome.ratios == []
    assert "- row: broken." in report.markdown([outcome], {})


def test_cpu_time_of_children_is_counted(tmp_path: Path) -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass\nprint('burnt', flush=True)\n"
    program = f"import subprocess, sys, time\nsubprocess.run([sys.executable, '-c', {burn!r}])\ntime.sleep(60)\n"
    server = Server("parent", [sys.executable, "-c", program], tmp_path)
    server.start()
    try:
        family = server.family()
        while "burnt" not in server.output() or len(server.family()) > 1:
            server.check()
        assert cpu_seconds(family) > 0.25  # the kernel counts in whole ticks
        assert resident_bytes(family) > 1 << 20
        process = psutil.Process(family[0].pid)
    finally:
        server.stop()
    assert not process.is_running()


def test_ratios_are_of_rounds_and_their_median_counts() -> None:
    ratio = Ratio("duck", "nginx", 1.5, [1.0, 1.4, 9.0])
    assert ratio.median == 1.4
    assert ratio.is_met
    assert not Ratio("duck", "nginx", 1.5, [1.6]).is_met


def test_tables_are_written_between_the_marks(tmp_path: Path) -> None:
    series = Series("duck 1", [20.0, 22.0], [100.0, 90.0], [1000.0, 1100.0], [2000.0, 2100.0], 0, 50 << 20)
    outcome = Outcome(ROWS["hop"], False, {"duck": series}, ratios=[Ratio("duck", "nginx", 1.5, [1.2, 1.3])])
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.marks()[0]}\nold\n{report.marks()[1]}\nafter\n")
    report.write_into(page, report.markdown([outcome], {"Machine": "fast"}))
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "- Machine: fast." in text
    assert "| a proxy hop, 13-byte answer | duck | 21.0 (20.0 to 22.0) |" in text
    assert "| duck / nginx | 1.25 (1.20 to 1.30) | at most 1.50 | yes |" in text
    assert json.loads(json.dumps(report.as_json([outcome], {})))["rows"][0]["wanted"][0]["met"] is True
    with pytest.raises(ValueError, match="has no lines"):
        none = tmp_path / "none.md"
        none.touch()
        report.write_into(none, "")


def test_more_open_files_than_the_system_allows_are_refused() -> None:
    with pytest.raises(Failed, match="open files are needed"):
        memory.raise_file_limit(1 << 40)


def test_an_unknown_row_is_refused_with_the_known_ones() -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "hopp"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=stacks.ROOT)
    assert result.returncode == 2
    assert "there is no row hopp: choose from hop, hop-varied" in result.stderr
