"""Sessions: what is planned, how often, and what a plan rests on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gangline as gl
from gangline.backends.fake import FakeBackend
from gangline.planner import proposal
from gangline.runtime.dispatch.job import result_of
from gangline.runtime.history import History
from gangline.runtime.machine.default_backends import default_fleet
from gangline.runtime.session import Options, Session
from gangline.runtime.store import Store


@gl.tool(effects="none")
def raised_by_session(x: int) -> int:
    return x + 1


@gl.workflow
def raises_by_session(x: int) -> int:
    return raised_by_session(x)


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Note what is planned."""
    calls: list[Any] = []
    propose = proposal.propose

    def noting(*args: Any, **options: Any) -> Any:
        calls.append(args[0].name)
        return propose(*args, **options)

    monkeypatch.setattr(proposal, "propose", noting)
    return calls


@pytest.fixture
def session(store: Store, tmp_path: Path) -> Iterator[Session]:
    with Session(default_fleet(), {"cpu/0": FakeBackend()}, store) as made:
        made.history = History(tmp_path)
        yield made


def test_a_program_is_planned_once_per_limits(session: Session, planned: list[Any]) -> None:
    for _ in range(5):
        session.submit(raises_by_session, {"x": 1}).result(20)
    assert len(planned) == 1
    session.submit(raises_by_session, {"x": 1}, Options(deadline_s=60.0)).result(20)
    session.submit(raises_by_session, {"x": 1}, Options(budget_usd=1.0)).result(20)
    assert len(planned) == 3


def test_it_is_planned_again_once_a_job_has_taught_something(
    session: Session, planned: list[Any], store: Store
) -> None:
    result = session.submit(raises_by_session, {"x": 1}).result(20)
    assert session.history is not None
    session.history.learn(raises_by_session.program(), result_of(store.events(result.job_id)))
    session.submit(raises_by_session, {"x": 1}).result(20)
    session.submit(raises_by_session, {"x": 1}).result(20)
    assert len(planned) == 2
    session.history.learn(raises_by_session.program(), result_of(store.events(result.job_id)))
    session.submit(raises_by_session, {"x": 1}).result(20)
    assert len(planned) == 3


def test_other_models_make_other_programs_once(session: Session) -> None:
    program = raises_by_session.program()
    assert session._with_model(program, None) is program
    other = session._with_model(program, "m")
    assert other is session._with_model(program, "m") and other.hash != program.hash
