"""Who may use DuckSight: this machine, by a name of its own, from its own pages, with the token."""

import pytest

from duck.http.ducksight.access import COOKIE, NONE, QUERY, Access, is_loopback_name, query_values, without
from tests.http.ducksight import asking
from tests.http.ducksight.asking import TOKEN, head, peer


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("127.0.0.1", True),
        ("127.9.8.7", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("192.168.0.7", False),
        ("10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("::ffff:10.0.0.1", False),
        ("", False),  # a Unix socket
    ],
)
def test_only_this_machine_is_near(host, near):
    assert Access(TOKEN).is_near(head(), peer(host)) is near


@pytest.mark.parametrize(
    ("host", "near"),
    [("172.17.0.1", True), ("172.17.255.255", True), ("172.18.0.1", False), ("fd00::7", True), ("::1", True)],
)
def test_a_gateway_that_is_listed_is_near_as_well(host, near):
    access = Access(TOKEN, ["172.17.0.0/16", "fd00::/8"])
    assert access.is_near(head(), peer(host)) is near


@pytest.mark.parametrize(
    ("authority", "near"),
    [
        ("localhost:8000", True),
        ("LOCALHOST", True),
        ("shop.localhost:8000", True),
        ("127.0.0.1:9000", True),
        ("[::1]:8000", True),
        ("evil.example:8000", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("192.168.0.7:8000", False),
        ("[::2]", False),
        ("a;script-src.localhost:8000", False),
        ("a,b.localhost", False),
    ],
)
def test_a_name_that_a_stranger_can_give_to_this_machine_is_none_of_it(authority, near):
    assert Access(TOKEN).is_near(head(host=authority), peer()) is near


def test_the_listeners_own_address_and_listed_names_are_names_of_this_machine():
    assert Access(TOKEN).is_near(head(host="10.1.2.3:8000"), peer(server="10.1.2.3"))
    assert not Access(TOKEN).is_near(head(host="10.1.2.4:8000"), peer(server="10.1.2.3"))
    assert Access(TOKEN).is_near(head(host="[fd00::2]:8000"), peer(server="fd00::2"))
    assert Access(TOKEN, ["shop.test"]).is_near(head(host="Shop.Test.:8000"), peer())
    assert not Access(TOKEN, ["shop.test"]).is_near(head(host="x.shop.test"), peer())


@pytest.mark.parametrize(
    "field",
    [
        (b"X-Forwarded-For", b"127.0.0.1"),
        (b"X-Forwarded-Host", b"localhost"),
        (b"Forwarded", b"for=127.0.0.1"),
        (b"X-Real-IP", b"127.0.0.1"),
        (b"Via", b"1.1 tunnel"),
        (b"X_Forwarded_For", b"127.0.0.1"),
    ],
)
def test_what_somebody_passes_on_comes_from_elsewhere(field):
    assert not Access(TOKEN).is_near(head("/", field), peer())


def test_what_a_trusted_proxy_passes_on_comes_from_elsewhere_too():
    assert not Access(TOKEN).is_near(head(), peer("127.0.0.1", via="127.0.0.1"))


@pytest.mark.parametrize(
    ("fields", "own"),
    [
        ([], True),
        ([(b"Sec-Fetch-Site", b"same-origin")], True),
        ([(b"Sec-Fetch-Site", b"none")], True),
        ([(b"Sec-Fetch-Site", b"same-site")], False),
        ([(b"Sec-Fetch-Site", b"cross-site")], False),
        ([(b"Sec-Fetch-Site", b"same-origin"), (b"Sec-Fetch-Site", b"cross-site")], False),
        ([(b"Origin", b"http://localhost:8000")], True),
        ([(b"Origin", b"HTTP://LOCALHOST:8000")], True),
        ([(b"Origin", b"https://localhost:8000")], False),
        ([(b"Origin", b"http://localhost:3000")], False),
        ([(b"Origin", b"http://evil.example")], False),
        ([(b"Origin", b"null")], False),
        ([(b"Origin", b"")], False),
        ([(b"Sec-Fetch-Site", b"same-origin"), (b"Origin", b"http://evil.example")], False),
    ],
)
def test_a_page_of_another_origin_is_refused(fields, own):
    assert Access(TOKEN).is_own(head("/", *fields), peer()) is own


@pytest.mark.parametrize(
    ("target", "fields", "proof"),
    [
        ("/?token=t0ken", [], QUERY),
        ("/?a=b&token=t0ken", [], QUERY),
        ("/?token=", [], NONE),
        ("/?token", [], NONE),
        ("/?token=t0kenx", [], NONE),
        ("/?xtoken=t0ken", [], NONE),
        ("/", [asking.COOKIE], COOKIE),
        ("/", [(b"Cookie", b"duck-sight-8000=t0ken")], COOKIE),
        ("/", [(b"Cookie", b"duck-sight-8001=t0ken")], NONE),  # of another Duck
        ("/", [(b"Cookie", b"duck-sight-8000=wrong")], NONE),
        ("/", [(b"Cookie", b"xduck-sight-8000=t0ken")], NONE),
        ("/?token=wrong", [asking.COOKIE], COOKIE),
        ("/", [], NONE),
    ],
)
def test_the_token_comes_in_the_query_or_as_a_cookie(target, fields, proof):
    assert Access(TOKEN).proof(head(target, *fields), peer()) == proof


def test_all_three_have_to_be_right():
    access = Access(TOKEN)
    assert access.admits(head("/?token=t0ken"), peer()) == QUERY
    assert access.admits(head("/?token=t0ken"), peer("10.0.0.1")) == NONE
    assert access.admits(head("/?token=t0ken", host="evil.example"), peer()) == NONE
    assert access.admits(head("/?token=t0ken", (b"Origin", b"http://evil.example")), peer()) == NONE
    assert access.admits(head("/?token=other"), peer()) == NONE


@pytest.mark.parametrize(
    ("query", "values", "rest"),
    [
        (b"", [], b""),
        (b"token=a", [b"a"], b""),
        (b"x=1&token=a&y=2&token=b", [b"a", b"b"], b"x=1&y=2"),
        (b"tokens=a&x", [], b"tokens=a&x"),
    ],
)
def test_a_value_is_found_in_a_query_and_taken_out(query, values, rest):
    assert query_values(query, b"token") == values
    assert without(query, b"token") == rest


def test_no_name_of_nobody():
    assert not is_loopback_name(b"")
