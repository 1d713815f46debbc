"""Which of many runs is the one: against a server that is a set of addresses."""

import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from seedbank.errors import OutsideError
from seedbank.storage import LocalStore
from seedbank.tracking.claims import Claims
from seedbank.tracking.links import run_address


@dataclass
class Server:
    runs: set[str] = field(default_factory=set)

    def find(self, address: str) -> str | None:
        return address if address in self.runs else None

    def make(self) -> str:
        address = run_address("1", uuid.uuid4().hex)
        self.runs.add(address)
        return address

    def settle(self, claims: Claims) -> str:
        return claims.settle(find=self.find, make=self.make, drop=self.runs.discard)


@pytest.fixture
def claims(tmp_path: Path) -> Claims:
    return Claims.of(LocalStore(tmp_path), "wingnut", "ab" * 32)


def test_the_first_makes_the_run_and_the_others_find_it(claims: Claims) -> None:
    server = Server()
    first = server.settle(claims)
    assert [server.settle(claims) for _ in range(3)] == [first] * 3
    assert server.runs == {first}
    assert list(claims) == [first]


def test_racers_agree_and_what_was_made_for_nothing_is_dropped(claims: Claims) -> None:
    for _ in range(20):
        server, gate, agreed = Server(), threading.Barrier(4), []

        def race(server: Server = server, gate: threading.Barrier = gate, agreed: list[str] = agreed) -> None:
            gate.wait()
            agreed.append(server.settle(claims))

        racers = [threading.Thread(target=race) for _ in range(4)]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        assert set(agreed) == server.runs
        assert len(server.runs) == 1


def test_a_run_that_was_deleted_is_replaced_and_comes_back_if_restored(claims: Claims) -> None:
    server = Server()
    first = server.settle(claims)
    server.runs.discard(first)
    second = server.settle(claims)
    assert second != first
    assert list(claims) == [first, second]
    server.runs.add(first)
    assert server.settle(claims) == first


def test_a_run_that_disappears_at_once_is_told(claims: Claims) -> None:
    with pytest.raises(OutsideError, match="was deleted in MLflow as soon as it was made; log again"):
        claims.settle(find=lambda _address: None, make=lambda: run_address("1", "0" * 32), drop=lambda _address: None)
