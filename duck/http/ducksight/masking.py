"""What of a request is a secret, and the same text without it. Pure.

What is shown of requests is looked at by others, pasted into reports and kept in screenshots. So names decide: a value
is hidden where the name of its field, parameter, form field or JSON member says what it is; and a value that looks like
a JSON Web Token is hidden wherever it stands. Hidden is too much rather than too little.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any, Final
from urllib.parse import unquote

HIDDEN: Final = "(hidden)"

# Words that make a name one of a secret wherever they stand in it, and those that have to be words of their own.
_PARTS: Final = ("password", "passwd", "passphrase", "passcode", "secret", "token", "csrf", "xsrf", "apikey")
_WORDS: Final = frozenset(
    "pass pwd auth authorization authentication credential credentials session sessionid sid signature sig otp jwt "
    "cvc cvv cookie cookies".split()
)
_PAIRS: Final = frozenset(("api key", "access key", "private key", "encryption key", "signing key", "card number"))
# A camel hump ends a word, as a hyphen does.
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_APART: Final = re.compile(r"[^A-Za-z0-9]+")

_JWT: Final = re.compile(r"\beyJ[\w-]{8,}\.[\w-]{2,}\.[\w-]*")
# A value ends where another address may begin within it.
_PARAMETER: Final = re.compile(r"(?<![^?&;#\s])([^=&;?#\s\"'<>]{1,64})=([^&;#?\s\"'<>]+)")
_USER_INFO: Final = re.compile(r"(?<=://)[^\s/@?#]{1,200}@")
_COOKIE: Final = re.compile(r"([^=;,\s]+)=(\"[^\"]*\"|[^;]*)")
# Before the string that a name is given; and the string, which may be one within another, or in HTML.
_QUOTE: Final = r"(?:\\{0,4}[\"']|&quot;|&#34;|&#39;|&#x27;)"
_GIVEN: Final = re.compile(rf"(?<![\w.-])([\w.-]{{1,64}}){_QUOTE}?\s{{0,8}}[:=]\s{{0,8}}({_QUOTE})")
_STRING_END: Final = {quote: re.compile(rf"(?:[^{quote}\\]|\\.)*", re.DOTALL) for quote in "\"'"}
_TAG: Final = re.compile(r"<(?:input|meta|button)\b[^<>]{0,2000}>", re.IGNORECASE)
_TAG_NAME: Final = re.compile(r"\bname\s*=\s*[\"']?([^\s\"'<>]{1,64})", re.IGNORECASE)
_TAG_VALUE: Final = re.compile(r"(\b(?:value|content)\s*=\s*)(\"[^\"]*\"|'[^']*'|[^\s\"'<>]+)", re.IGNORECASE)


def is_secret(name: str) -> bool:
    """Whether what is called `name` (a field, parameter, form field, member) is a secret by its name."""
    words = _APART.split(_HUMP.sub("-", name[:256]).lower())
    joined = "".join(words)
    if any(part in joined for part in _PARTS) or not _WORDS.isdisjoint(words):
        return True
    return any(f"{one} {two}" in _PAIRS for one, two in pairwise(words))


def mask_field(name: str, value: str) -> str:
    """The value of a field of a request or an answer; which cookies there are, and how, stays to be seen."""
    lowered = name.lower()
    if lowered == "cookie":
        return _COOKIE.sub(_hide_cookie, value)
    if lowered == "set-cookie":
        pair, semicolon, attributes = value.partition(";")
        return _COOKIE.sub(_hide_cookie, pair) + semicolon + attributes
    if lowered in ("authorization", "proxy-authorization"):
        scheme, space, _ = value.partition(" ")
        return f"{scheme} {HIDDEN}" if space and scheme.isalpha() else HIDDEN
    if lowered not in _OPEN_FIELDS and is_secret(name):
        return HIDDEN if value else value
    return mask_url(value)


# They are called so and are no secrets.
_OPEN_FIELDS: Final = frozenset(("www-authenticate", "proxy-authenticate", "sec-token-binding"))


def mask_url(text: str) -> str:
    """`text` with what its query parameters, and the user before its host, keep secret."""
    if "=" in text:
        text = _PARAMETER.sub(_hide_parameter, text)
    if "@" in text:
        text = _USER_INFO.sub(f"{HIDDEN}@", text)
    return _JWT.sub(HIDDEN, text)


def mask_json(value: Any, depth: int = 64) -> Any:
    """What a JSON text says, every member with the name of a secret hidden, whatever it holds."""
    if isinstance(value, dict):
        if depth == 0:
            return HIDDEN
        return {name: _hide_member(name, member, depth) for name, member in value.items()}
    if isinstance(value, list):
        return HIDDEN if depth == 0 else [mask_json(item, depth - 1) for item in value]
    return _JWT.sub(HIDDEN, value) if isinstance(value, str) else value


def mask_pairs(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The same for the fields of a form."""
    return [(name, HIDDEN if value and is_secret(name) else mask_url(value)) for name, value in pairs]


def mask_text(text: str) -> str:
    """Any other text, HTML and scripts among them: the values of inputs, assignments and parameters."""
    if "<" in text:
        text = _TAG.sub(_hide_tag, text)
    return mask_url(_hide_given(text))


def _hide_cookie(match: re.Match[str]) -> str:
    return f"{match[1]}={HIDDEN if match[2] else ''}"


def _hide_parameter(match: re.Match[str]) -> str:
    if is_secret(match[1]) or ("%3d" in match[2].lower() and mask_url(plain := unquote(match[2])) != plain):
        return f"{match[1]}={HIDDEN}"
    return match[0]


def _hide_given(text: str) -> str:
    """`text` without the strings that are given to names of secrets, as in scripts and in JSON."""
    parts, at = [], 0
    for match in _GIVEN.finditer(text):
        if match.start() < at or not is_secret(match[1]):
            continue
        quote, begin = match[2], match.end()
        # What was cut may end within the string.
        if quote in _STRING_END:
            rest = _STRING_END[quote].match(text, begin)
            end = begin if rest is None else rest.end()
        else:
            end = text.find(quote, begin)
        end = len(text) if end < 0 else end
        if end > begin:
            parts += [text[at:begin], HIDDEN]
            at = end
    parts.append(text[at:])
    return "".join(parts)


def _hide_tag(match: re.Match[str]) -> str:
    tag = match[0]
    name = _TAG_NAME.search(tag)
    if name is None or not is_secret(name[1]):
        return tag
    return _TAG_VALUE.sub(lambda value: f'{value[1]}"{HIDDEN}"', tag)


def _hide_member(name: str, member: Any, depth: int) -> Any:
    if member is None or isinstance(member, bool) or member in ("", [], {}):
        return member
    return HIDDEN if is_secret(name) else mask_json(member, depth - 1)
