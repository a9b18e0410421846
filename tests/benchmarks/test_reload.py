"""What `bench reload` is made of: edits, the client that counts, and the tables."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks import stacks
from tests.benchmarks.reload import table
from tests.benchmarks.reload.client import Client, keep_asking
from tests.benchmarks.reload.edits import TEMPLATE, URLS, VIEW, Editor, mark, number_in
from tests.benchmarks.reload.idle import Idle
from tests.benchmarks.reload.loaded import Loaded
from tests.benchmarks.reload.peers import DUCK, GRANIAN, RUNSERVER, Census
from tests.benchmarks.reload.results import Results, percentile
from tests.benchmarks.reload.waiting import Edit


@pytest.fixture
def editor(tmp_path: Path) -> Editor:
    files = {VIEW: "views.py", URLS: "urls.py"}
    for kind, name in files.items():
        (tmp_path / name).write_text(f'TEXT = "{kind} 0 ;"\nOTHER = "{kind}"\n')
    return Editor(tmp_path, files)


class TestEdits:
    def test_each_gives_another_text_of_another_length(self, editor: Editor) -> None:
        path = editor.directory / "views.py"
        before = path.read_bytes()
        for number in range(1, 80):
            save = editor.change(VIEW)
            assert path.read_bytes() == before
            save.write()
            after = path.read_bytes()
            assert number_in(after) == save.number == number
            assert len(after) != len(before)
            assert after.endswith(b'OTHER = "view"\n')
            before = after
        assert sorted(each.name for each in editor.directory.iterdir()) == ["urls.py", "views.py"]

    def test_each_kind_is_saved_in_place_and_by_a_rename_in_turn(self, editor: Editor) -> None:
        saves = [editor.change(kind) for kind in (VIEW, URLS, VIEW, URLS)]
        assert [save.in_place for save in saves] == [True, True, False, False]
        inode = (editor.directory / "views.py").stat().st_ino
        saves[0].write()
        assert (editor.directory / "views.py").stat().st_ino == inode
        saves[2].write()
        assert (editor.directory / "views.py").stat().st_ino != inode

    def test_a_file_without_the_text_is_an_error(self, editor: Editor) -> None:
        (editor.directory / "views.py").write_text("")
        with pytest.raises(ValueError, match=r"views.py has no text"):
            editor.change(VIEW)

    def test_the_number_is_found_within_a_page(self) -> None:
        page = f"<p>{mark(TEMPLATE, 41)}</p>".encode()
        assert number_in(page) == 41
        assert number_in(b"<h1>Server Error (500)</h1>") == -1


def asked(answers: list[bytes], *, kept: bool) -> Client:
    """A client that has asked a server which gives these answers, one for each request; empty ones are resets."""

    async def run() -> Client:
        left = list(answers)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while left and await reader.readline():
                while await reader.readline() not in (b"\r\n", b""):
                    pass
                answer = left.pop(0)
                if not answer:
                    break
                writer.write(answer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        client = Client(server.sockets[0].getsockname()[1], "/", deadline_s=5.0)
        for _ in answers:
            await client.ask(kept=kept)
        server.close()
        await server.wait_closed()
        await client.ask(kept=False)  # nobody is there any more
        await client.close()
        return client

    return asyncio.run(run())


def answer(text: str, status: int = 200) -> bytes:
    return f"HTTP/1.1 {status} Said\r\nContent-Length: {len(text)}\r\nX-Load-Id: {{}}\r\n\r\n{text}".encode()


class TestClient:
    @pytest.mark.parametrize("kept", [True, False])
    def test_it_says_how_requests_failed(self, kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tests.benchmarks.reload.client.Outcome", _without_id)
        good = answer(mark(VIEW, 3)).replace(b"{}", b"bench")
        client = asked([good, answer("", 503), b"", good, answer("hello").replace(b"{}", b"bench")], kept=kept)
        assert client.failed == {"status 503": 1, "reset": 1, "wrong": 1, "refused": 1}
        assert client.asked == 6
        assert client.seen[kept] == 3

    def test_an_answer_older_than_one_before_is_stale(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tests.benchmarks.reload.client.Outcome", _without_id)
        answers = [answer(mark(VIEW, number)).replace(b"{}", b"bench") for number in (3, 4, 3, 4)]
        assert asked(answers, kept=True).stale == 1

    def test_requests_are_begun_whatever_became_of_those_before(self) -> None:
        async def run() -> Client:
            held: list[asyncio.StreamWriter] = []

            async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                held.append(writer)

            server = await asyncio.start_server(hold, "127.0.0.1", 0)
            client = Client(server.sockets[0].getsockname()[1], "/", deadline_s=0.5)
            await keep_asking(client, lambda: len(held) >= 10, every_s=0.01)
            for writer in held:
                writer.close()
            server.close()
            return client

        client = asyncio.run(run())
        assert client.failed == {"timeout": client.asked}
        assert client.asked >= 10


def _without_id(load_id: str, *rest: object) -> object:
    from tests.load.outcome import Outcome

    return Outcome("bench", *rest)  # type: ignore[arg-type]


def results(duck_ms: list[float | None], failed: int = 0) -> Results:
    found = Results()
    for name, taken in ((DUCK, duck_ms), (GRANIAN, [900.0, 1000.0, 1100.0]), (RUNSERVER, [2000.0, 2500.0, 3000.0])):
        edits = [Edit(None if ms is None else ms / 1000, None, 0.1, 0, True) for ms in taken]
        found.row("wagtail", VIEW, name).edits += edits
    found.idle["wagtail", DUCK] = Idle(0.004, 3, 90 << 20)
    found.loaded[DUCK] = Loaded(
        100, 0, 9_000, {"refused": failed} if failed else {}, 0, 0.3, Census(3, 40), Census(3, 40)
    )
    return found


class TestResults:
    def test_ratios_are_of_medians_and_all_bars_are_named(self) -> None:
        found = {each.what: each for each in results([400.0, 480.0, 490.0]).wanted()}
        assert found["wagtail, view: duck / granian --reload"].found == pytest.approx(0.48)
        assert found["wagtail, view: duck / runserver"].found == pytest.approx(0.192)
        assert len(found) == 7
        assert all(each.is_met for each in found.values())

    def test_what_was_never_seen_or_failed_is_not_reached(self) -> None:
        missed = {each.what: each.is_met for each in results([10.0, 10.0, None], failed=1).wanted()}
        assert not missed["wagtail, view: duck / runserver"]
        assert not missed["failed requests"]
        assert missed["processes left"]

    def test_the_95th_percentile_is_one_of_the_values(self) -> None:
        assert percentile([float(number) for number in range(1, 31)], 0.95) == 29
        assert percentile([7.0], 0.95) == 7

    def test_the_tables_say_it(self) -> None:
        found = results([400.0, 480.0, None])
        found.missing["runserver, watchman"] = "watchman is not installed"
        text = table.markdown(found, {"Machine": "fast"})
        assert "- Machine: fast." in text
        assert "| wagtail | view | duck | 440 | 480 | 400 to 480 | 100 | 3 | 1 |" in text
        assert "| wagtail | duck | 0.40 | 3 | 90 |" in text
        assert "| duck | 100 | 0 | 9,000 | 0 | 0.0 |  | 300 | 3 to 3 | 40 to 40 |" in text
        assert "- runserver, watchman: watchman is not installed." in text

    def test_every_figure_is_kept_as_json(self) -> None:
        kept = json.loads(json.dumps(results([400.0], failed=2).as_json()))
        assert kept["loaded"]["duck"]["failed"] == {"refused": 2}
        assert [row["edits"][0]["took_s"] for row in kept["edits"] if row["name"] == "duck"] == [0.4]
        assert kept["idle"][0]["part"] == 0.004
        assert len(kept["wanted"]) == 7


def test_an_unknown_part_is_refused_with_the_known_ones() -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "reload", "edit"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=stacks.ROOT)
    assert done.returncode == 2
    assert "there is no part edit: choose from edits, idle, load" in done.stderr
