"""The benchmark of a request's Python measures what is answered."""

import pytest

from tests.benchmarks import in_python


def test_every_kind_of_request_is_measured(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_python, "REQUESTS", 10)
    in_python.main(2)
    lines = capsys.readouterr().out.splitlines()
    assert [line[:40].strip() for line in lines] == [
        "hop, the same again",
        "hop, another session each",
        "static, the same again",
        "static, another session each",
        "hop, HTTP/2, the same again",
        "hop, HTTP/2, another session each",
        "static, HTTP/2, the same again",
        "static, HTTP/2, another session each",
    ]
    assert all(float(cost) > 0 for line in lines for cost in line[40:].split())
