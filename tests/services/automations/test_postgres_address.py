"""Names of database servers, which are resolved in time or not at all."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from duck.exceptions import StoreError
from duck.services.automations.engines import postgres_address
from duck.services.automations.engines.postgres import PostgresEngine
from duck.services.automations.engines.postgres_address import Resolver

if TYPE_CHECKING:
    from tests.postgres import Postgres


class Names:
    """Stands in for the system's resolver."""

    def __init__(self) -> None:
        self.known: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.may_answer = threading.Event()
        self.may_answer.set()

    def getaddrinfo(self, host: str, *arguments: Any, **more: Any) -> list[Any]:
        self.asked.append(host)
        self.may_answer.wait(60.0)
        if host not in self.known:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in self.known[host]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    found = Names()
    for name in ("PGHOST", "PGHOSTADDR", "PGPORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(postgres_address.socket, "getaddrinfo", found.getaddrinfo)
    return found


def resolved(address: str) -> tuple[Any, Any, Any]:
    parts = conninfo_to_dict(Resolver().resolve(address))
    return parts.get("host"), parts.get("hostaddr"), parts.get("port")


def test_a_name_gets_its_addresses_and_stays(names: Names) -> None:
    names.known = {"db": ["10.0.0.1", "10.0.0.2"]}
    assert resolved("postgresql://ada@db:5433/shop") == ("db,db", "10.0.0.1,10.0.0.2", "5433,5433")
    assert resolved("postgresql://ada@db/shop") == ("db,db", "10.0.0.1,10.0.0.2", None)


def test_of_several_hosts_those_that_are_known_are_left(names: Names) -> None:
    names.known = {"a": ["10.0.0.1"], "c": ["10.0.0.3"]}
    assert resolved("host=a,b,c,10.0.0.9 port=1,2,3,4") == ("a,c,10.0.0.9", "10.0.0.1,10.0.0.3,", "1,3,4")
    with pytest.raises(psycopg.OperationalError, match="no address is known of b"):
        resolved("host=b")


@pytest.mark.parametrize("address", ["host=127.0.0.1", "host=::1", "host=/run/postgresql", "host=x hostaddr=::1", ""])
def test_what_is_no_name_asks_nobody(names: Names, address: str) -> None:
    assert Resolver().resolve(address) == address and names.asked == []


def test_no_more_addresses_are_tried_than_there_is_time_for(names: Names) -> None:
    names.known = {"db": [f"10.0.0.{number}" for number in range(1, 20)]}
    assert resolved("host=db")[1] == "10.0.0.1,10.0.0.2,10.0.0.3,10.0.0.4"


def test_a_resolver_that_does_not_answer_is_waited_for_no_longer_than_its_deadline_and_asked_once(
    names: Names, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_address, "_RESOLVE_S", 0.05)
    names.may_answer.clear()
    names.known = {"db.internal": ["127.0.0.1"]}
    address = postgres.url(postgres.make_database()).replace("127.0.0.1", "db.internal")
    engine = PostgresEngine(lambda: address)
    for _ in range(3):
        with pytest.raises(
            StoreError, match=r"cannot be reached: the name db\.internal was not resolved within 0\.05 s"
        ):
            engine.now()
    assert names.asked == ["db.internal"]
    monkeypatch.setattr(postgres_address, "_RESOLVE_S", 30.0)
    names.may_answer.set()
    assert engine.register([]) == {}
    assert names.asked == ["db.internal"], "psycopg asks nobody"
    engine.close()
