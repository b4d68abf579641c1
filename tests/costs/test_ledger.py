"""What services charged, at an address: nothing is counted twice, and nothing of another machine is lost."""

import uuid
from pathlib import Path

import pytest

pytest.importorskip("upath")

from semievol.costs.budget import Budget, costs
from semievol.costs.prices import Price
from semievol.run_folder.folder import RunFolder

DOLLAR = Price(1e6, 1e6, 1e6, 1e6, 1e6)
"""A dollar a token."""


def machine(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this process is on another machine."""
    monkeypatch.setenv("SEMIEVOL_CACHE", str(tmp_path / name))
    monkeypatch.setattr("socket.gethostname", lambda: name)


@pytest.fixture
def address() -> str:
    return f"memory://bucket/{uuid.uuid4().hex}/run"


def charge(address: str, id_: str) -> Budget:
    budget = Budget(RunFolder(address).costs_path, DOLLAR)
    budget.settle(id_, "base", 1, 0)
    return budget


def test_machines_know_of_each_others_charges(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine("one", tmp_path, monkeypatch)
    charge(address, "a").close()
    machine("two", tmp_path, monkeypatch)
    second = charge(address, "b")
    assert second.spent == 2
    second.close()
    machine("one", tmp_path, monkeypatch)
    assert costs(RunFolder(address)).dollars == 2
    assert charge(address, "c").spent == 3


def test_what_was_charged_before_a_kill_is_known_on_the_machine_that_was_killed(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("one", tmp_path, monkeypatch)
    charge(address, "a").settle("b", "base", 1, 0)  # the second is not uploaded yet
    assert Budget(RunFolder(address).costs_path, DOLLAR).spent == 2


def test_the_charges_of_a_run_that_was_removed_are_forgotten(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("one", tmp_path, monkeypatch)
    charge(address, "a").close()
    folder = RunFolder(address).path
    folder.fs.rm(folder.path, recursive=True)
    assert charge(address, "b").spent == 1
    assert costs(RunFolder(address)).dollars == 1
