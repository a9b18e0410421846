"""Certificates of clients: who is let in, and whose it is."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator

import pytest
from cryptography import x509

from duck.exceptions import SSLError
from duck.net.client_certificate import NOBODY, distinguished_name, variables_of
from duck.net.tls import Contexts, TlsConfig
from duck.wire.head import ResponseHead
from tests.certificates import Authority
from tests.net.secure import Served, ask, serving

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
both_versions = pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def clients(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("clients"), "Clients, Inc.")


def told(exchange):
    body = json.dumps(dict(exchange.peer.certificate)).encode()
    exchange.response.answer(ResponseHead(200, [], content_length=len(body)), body)


@pytest.fixture(params=["requested", "required"])
def asking(request, authority, clients) -> Iterator[Served]:
    pairs = [authority.issue("a.example"), authority.issue("b.example")]
    with serving(*pairs, answer=told, client_certificates=request.param, client_ca=clients.file) as served:
        yield served


def said(client) -> dict[str, str]:
    return json.loads(ask(client).partition(b"\r\n\r\n")[2])


@both_versions
@pytest.mark.parametrize("name", ["a.example", "b.example"])
def test_a_certificate_of_the_authority_says_who_it_is(asking, authority, clients, version, name):
    context = authority.client(clients.issue(subject="Ada"), version=version)
    with asking.connect(context, name) as client:
        seen = said(client)
        assert seen["SSL_CLIENT_VERIFY"] == "SUCCESS"
        assert seen["SSL_CLIENT_S_DN"] == "CN=Ada"
        assert seen["SSL_CLIENT_S_DN_CN"] == "Ada"
        assert seen["SSL_CLIENT_I_DN"] == r"CN=Clients\, Inc."
        assert int(seen["SSL_CLIENT_M_SERIAL"], 16)
        session = client.session
    # A resumed session is of the same client.
    with asking.connect(context, name, session) as client:
        assert client.session_reused
        assert said(client) == seen


@both_versions
def test_without_one_a_client_is_nobody_or_is_not_let_in(asking, authority, version):
    context = authority.client(version=version)
    if asking.contexts.config.client_certificates == "requested":
        with asking.connect(context) as client:
            assert said(client) == dict(NOBODY)
    else:
        with pytest.raises(ssl.SSLError), asking.connect(context) as client:
            said(client)


@both_versions
@pytest.mark.parametrize("which", ["another authority", "expired"])
def test_a_certificate_that_is_wrong_is_never_let_in(asking, authority, clients, tmp_path, version, which):
    if which == "expired":
        pair = clients.issue(subject="Old", days=-1)
    else:
        pair = Authority(tmp_path).issue(subject="Mallory")
    with (
        pytest.raises((ssl.SSLError, ConnectionError)),
        asking.connect(authority.client(pair, version=version)) as client,
    ):
        said(client)


@both_versions
def test_a_session_of_a_time_with_other_authorities_is_not_resumed(authority, clients, tmp_path, version):
    pair = authority.issue("a.example")
    with serving(pair, answer=told, client_certificates="required", client_ca=clients.file) as served:
        context = authority.client(clients.issue(subject="Ada"), version=version)
        with served.connect(context) as client:
            said(client)
            session = client.session
        others = Authority(tmp_path)
        served.contexts.reload(TlsConfig((pair,), client_certificates="required", client_ca=others.file))
        with pytest.raises((ssl.SSLError, ConnectionError)), served.connect(context, session=session) as client:
            said(client)
        with served.connect(authority.client(others.issue(subject="Eve"), version=version)) as client:
            assert said(client)["SSL_CLIENT_S_DN"] == "CN=Eve"


def test_where_nobody_asks_nothing_is_said(authority, clients):
    with (
        serving(authority.issue("a.example"), answer=told) as served,
        served.connect(authority.client(clients.issue(subject="Ada"))) as client,
    ):
        assert said(client) == {}


def test_authorities_that_cannot_be_read_are_one_sentence(authority, tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    for path in (tmp_path / "ca.pem", tmp_path / "none.pem"):
        with pytest.raises(SSLError, match=f"in {path} cannot be read"):
            Contexts(TlsConfig((authority.issue("a.example"),), client_certificates="required", client_ca=str(path)))


@pytest.mark.parametrize(
    "parts",
    [
        [("CN", "Ada")],
        [("C", "GB"), ("O", "A, B + C"), ("OU", 'x"y;<z>='), ("CN", "#1 ")],
        [("CN", " space"), ("DC", "example"), ("UID", "\\")],
    ],
)
def test_a_name_is_written_as_rfc_4514_says(parts):
    """`cryptography` reads it as the name that it was made of."""
    long = {"CN": "commonName", "C": "countryName", "O": "organizationName", "OU": "organizationalUnitName"}
    long |= {"DC": "domainComponent", "UID": "userId"}
    written = distinguished_name(tuple(((long[name], value),) for name, value in parts))
    read = x509.Name.from_rfc4514_string(written)
    oids = {oid: name for name, oid in x509.name._NAME_TO_NAMEOID.items()}
    assert [(oids[one.oid], one.value) for one in read] == parts


def test_a_name_is_printable_ascii_whatever_it_holds():
    name = "Zoë\r\nX: y\0\x7f😀"
    written = distinguished_name(((("commonName", name),),))
    assert written.isascii() and written.isprintable()
    assert written == r"CN=Zo\C3\AB\0D\0AX: y\00\7F\F0\9F\98\80"


def test_several_values_of_one_part_stand_together():
    assert distinguished_name(((("commonName", "a"), ("userId", "b")),)) == "CN=a+UID=b"


def test_nothing_is_said_of_who_was_not_asked():
    assert variables_of(None) == ()
    assert variables_of({}) == NOBODY
