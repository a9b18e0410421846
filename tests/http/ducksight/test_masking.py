"""Secrets are hidden by the names that they go by, and everything else stays to be read."""

import time

import pytest

from duck.http.ducksight.masking import is_secret, mask_field, mask_json, mask_pairs, mask_text, mask_url

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "new_password1",
        "userPassword",
        "PASSWD",
        "csrfmiddlewaretoken",
        "X-CSRFToken",
        "access_token",
        "refreshToken",
        "client-secret",
        "api_key",
        "apiKey",
        "X-API-Key",
        "AWS-Access-Key-Id",
        "sessionid",
        "session[id]",
        "X-Hub-Signature-256",
        "otp",
        "auth",
        "pwd",
        "card[number]",
        "credentials",
    ],
)
def test_names_of_secrets(name):
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        "name",
        "author",
        "passenger",
        "key",
        "keyboard",
        "number",
        "compass",
        "position",
        "sessions",
        "q",
        "",
        "designer",
    ],
)
def test_names_of_others(name):
    assert not is_secret(name)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("Cookie", "sessionid=abc; theme=dark", "sessionid=(hidden); theme=(hidden)"),
        ("cookie", 'a="x; y"; b=', "a=(hidden); b="),
        ("Set-Cookie", "sessionid=abc; Path=/; HttpOnly", "sessionid=(hidden); Path=/; HttpOnly"),
        ("Set-Cookie", "a=; Max-Age=0", "a=; Max-Age=0"),
        ("Authorization", "Bearer abc.def", "Bearer (hidden)"),
        ("Authorization", "Basic YTpi", "Basic (hidden)"),
        ("Authorization", "abc", "(hidden)"),
        ("Proxy-Authorization", "Basic YTpi", "Basic (hidden)"),
        ("X-CSRFToken", "abc", "(hidden)"),
        ("X-Api-Key", "", ""),
        ("WWW-Authenticate", 'Basic realm="x"', 'Basic realm="x"'),
        ("Referer", "http://x/reset?token=abc&page=2", "http://x/reset?token=(hidden)&page=2"),
        ("Location", "/done?next=/a&access_token=abc#frag", "/done?next=/a&access_token=(hidden)#frag"),
        ("Origin", "http://ann:geheim@x", "http://(hidden)@x"),
        ("X-Other", f"prefix {JWT} suffix", "prefix (hidden) suffix"),
        ("Accept", "text/html;q=0.9", "text/html;q=0.9"),
    ],
)
def test_fields(name, value, shown):
    assert mask_field(name, value) == shown


def test_a_target_keeps_all_but_its_secrets():
    assert mask_url("/a?password=x&b=2&password=y") == "/a?password=(hidden)&b=2&password=(hidden)"
    assert mask_url("/password/change?user=1") == "/password/change?user=1"


def test_members_of_json_are_hidden_whatever_they_hold():
    value = {
        "user": "ann",
        "password": "x",
        "empty_password": "",
        "token": None,
        "nested": [{"apiKey": 17, "credentials": {"user": "a", "pass": "b"}, "ok": [1, True]}],
        "text": f"a {JWT}",
    }
    assert mask_json(value) == {
        "user": "ann",
        "password": "(hidden)",
        "empty_password": "",
        "token": None,
        "nested": [{"apiKey": "(hidden)", "credentials": "(hidden)", "ok": [1, True]}],
        "text": "a (hidden)",
    }


def test_deep_json_ends_hidden_and_not_in_an_error():
    deep = value = {}
    for _ in range(500):
        value["a"] = value = {}
    value["password"] = "x"
    assert "x" not in str(mask_json(deep)).replace("(hidden)", "")


def test_fields_of_forms():
    pairs = [("name", "ann"), ("password", "x"), ("password2", ""), ("note", JWT)]
    assert mask_pairs(pairs) == [("name", "ann"), ("password", "(hidden)"), ("password2", ""), ("note", "(hidden)")]


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ('<input type="hidden" name="csrfmiddlewaretoken" value="SECRET">', "SECRET"),
        ("<input value='SECRET' type=password name=password>", "SECRET"),
        ("<input name=pwd value=SECRET>", "SECRET"),
        ('<META name="csrf-token" content="SECRET">', "SECRET"),
        ('window.config = {"csrfToken": "SECRET", page: 1}', "SECRET"),
        ("let api_key = 'SE\\'CRET';", "CRET"),
        ("see http://x/?token=SECRET&b=1", "SECRET"),
        (f"<p>{JWT}</p>", JWT),
        ("<div data-x=\"{'a': 'b', 'password': 'SECRET'}\">", "SECRET"),
        ('<div data-x="{&quot;password&quot;:&quot;SECRET&quot;}">', "SECRET"),
        ('{"inner": "{\\"password\\": \\"SECRET\\"}"}', "SECRET"),
        ('it = "don\'t", {"password": "SECRET"}', "SECRET"),
        ('x = \'never closed {"password": "SECRET"}', "SECRET"),
        ('{"password": "SECRET', "SECRET"),
        ('{"password": "a\\"SECRET", "b": 1}', "SECRET"),
        ("/login?next=/reset?token=SECRET", "SECRET"),
        ("/login?next=%2Freset%3Ftoken%3DSECRET", "SECRET"),
    ],
)
def test_text_and_html(text, secret):
    assert secret in text
    shown = mask_text(text)
    assert secret not in shown
    assert "(hidden)" in shown


def test_what_stands_behind_a_secret_stays():
    assert mask_text('{"password": "x", "page": "1"}') == '{"password": "(hidden)", "page": "1"}'
    assert mask_text("next=%2Fa%3Fb%3D1") == "next=%2Fa%3Fb%3D1"


@pytest.mark.parametrize("text", ['<input name="q" value="cats">', "a = 'b'", '{"page": "1"}', "1 < 2 and 3 > 2"])
def test_other_text_stays_as_it_is(text):
    assert mask_text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "a" * 200_000,
        "a=" * 100_000,
        "<input " * 30_000,
        'a = "' * 40_000,
        "eyJ" + "a." * 100_000,
        "x" + " " * 200_000 + "=",
        "://" + "a" * 200_000,
        "?a" * 100_000,
        "'\\" * 100_000,
        "password='" * 20_000,
        'password="' + "\\" * 200_000,
        "token=%3d" * 20_000,
        "?token=%3D" + "%25" * 60_000,
        "token:&quot;" * 20_000,
    ],
    ids=range(14),
)
def test_no_text_takes_long(text):
    began = time.process_time()
    mask_text(text)
    assert time.process_time() - began < 5  # quadratic time would be minutes
