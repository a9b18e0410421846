"""Policies, widened by what the client needs and by nothing else."""

import pytest

from duck.http.ducksight.policy import is_sandboxed, parse, widen

SCRIPT, SOCKET, FRESH = "http://localhost:8000/.duck/client.js", "ws://localhost:8000", "fresh"


@pytest.mark.parametrize(
    ("policy", "widened", "nonce"),
    [
        ("img-src 'self'", "img-src 'self'", ""),
        (
            "default-src 'self'",
            f"default-src 'self'; script-src-elem 'self' {SCRIPT}; connect-src 'self' {SOCKET}",
            "",
        ),
        (
            "default-src 'none'; style-src 'unsafe-inline'",
            f"default-src 'none'; style-src 'unsafe-inline'; script-src-elem {SCRIPT}; connect-src 'self' {SOCKET}",
            "",
        ),
        ("script-src 'self' 'unsafe-inline'", f"script-src 'self' 'unsafe-inline' {SCRIPT}", ""),
        ("script-src 'nonce-abc=' 'strict-dynamic'", "script-src 'nonce-abc=' 'strict-dynamic'", "abc="),
        ("script-src 'self'; script-src-elem 'nonce-b'", "script-src 'self'; script-src-elem 'nonce-b'", "b"),
        (
            "default-src 'self' 'nonce-abc'; connect-src https://api.test",
            f"default-src 'self' 'nonce-abc'; connect-src https://api.test 'self' {SOCKET}",
            "abc",
        ),
        (
            "script-src 'sha256-AAAA' 'strict-dynamic'",
            f"script-src 'sha256-AAAA' 'strict-dynamic' 'nonce-{FRESH}'",
            FRESH,
        ),
        ("SCRIPT-SRC 'none'; script-src *", f"script-src {SCRIPT}", ""),
        ("connect-src 'none'", f"connect-src 'self' {SOCKET}", ""),
        ("connect-src 'self'", f"connect-src 'self' {SOCKET}", ""),
        ("require-trusted-types-for 'script'", "require-trusted-types-for 'script'", ""),
        ("trusted-types a b", "trusted-types a b duck-sight", ""),
        ("trusted-types 'none'", "trusted-types duck-sight", ""),
        ("trusted-types *", "trusted-types *", ""),
        ("", None, ""),
        (" ; ;", None, ""),
    ],
)
def test_one_policy(policy, widened, nonce):
    assert widen([policy], SCRIPT, SOCKET, FRESH) == ([] if widened is None else [widened], nonce)


def test_a_nonce_that_could_end_an_attribute_is_none():
    assert widen(["script-src 'nonce-\"><script>'"], SCRIPT, SOCKET, FRESH)[1] == ""


def test_every_policy_of_several_lets_the_client_in():
    policies, nonce = widen(["script-src 'nonce-a', script-src 'self'", "script-src 'nonce-b'"], SCRIPT, SOCKET, FRESH)
    assert nonce == "a"
    assert policies == [
        "script-src 'nonce-a'",
        f"script-src 'self' {SCRIPT}",
        "script-src 'nonce-b' 'nonce-a'",
    ]


def test_of_directives_of_one_name_the_first_counts():
    assert parse("a b c; A d;e") == {"a": ["b", "c"], "e": []}


@pytest.mark.parametrize(
    ("policy", "sandboxed"),
    [
        ("sandbox", True),
        ("sandbox allow-scripts", True),
        ("sandbox allow-same-origin", True),
        ("sandbox Allow-Scripts allow-same-origin", False),
        ("default-src 'self'", False),
        ("default-src 'self', sandbox", True),
    ],
)
def test_in_a_sandbox_there_is_nothing_to_be_done(policy, sandboxed):
    assert is_sandboxed([policy]) is sandboxed
