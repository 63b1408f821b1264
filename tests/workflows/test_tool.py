"""Tools: JSON in, JSON out, typed between; what a tool promises about itself."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from pydantic import BaseModel

import gangline as gl
from gangline.ir.errors import StepError
from gangline.workflows.signature import read_signature
from gangline.workflows.tool import Tool, origin, signature_hash


class Point(BaseModel):
    x: int
    y: int = 0


@gl.tool(effects="none")
def move(point: Point, by: int = 1) -> Point:
    assert isinstance(point, Point), "JSON becomes what the annotation says"
    return Point(x=point.x + by, y=point.y)


@gl.tool(effects="none")
def pairs(count: int) -> list[tuple[int, str]]:
    return [(i, str(i)) for i in range(count)]


@gl.tool(effects="none")
def liar(count: int) -> int:
    return "many"  # type: ignore[return-value]


@gl.tool(effects="write")
def pay(amount: float, idempotency_key: str) -> str:
    return f"{amount} {idempotency_key}"


@gl.tool(effects="write", idempotent=True)
def put(text: str) -> None:
    return None


@gl.tool(effects="read")
async def fetch(name: str) -> dict[str, Any]:
    await asyncio.sleep(0)
    return {"name": name}


@gl.tool(effects="none")
def fails_by_name(name: str) -> str:
    raise LookupError(name)


def test_json_goes_in_and_comes_out() -> None:
    assert move.call({"point": {"x": 1, "y": 2}, "by": 3}) == {"x": 4, "y": 2}
    assert move.call({"point": {"x": 1}}) == {"x": 2, "y": 0}
    assert json.loads(json.dumps(pairs.call({"count": 2}))) == [[0, "0"], [1, "1"]]
    assert put.call({"text": "a"}) is None


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        (move, {"point": {"y": 1}}, "argument 'point' of tool move is no Point"),
        (move, {"point": {"x": 1}, "far": 2}, "tool move has no parameter 'far'"),
        (liar, {"count": 1}, "the result of tool liar is no int"),
        (move, {"point": {"x": 1}, "idempotency_key": "k"}, "no parameter 'idempotency_key'"),
    ],
)
def test_what_does_not_fit_is_a_step_error(
    tool: Tool[..., Any], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(StepError) as caught:
        tool.call(arguments)
    assert message in caught.value.detail


def test_what_the_function_raises_passes_through() -> None:
    with pytest.raises(LookupError):
        fails_by_name.call({"name": "x"})


def test_an_async_tool_gives_an_awaitable() -> None:
    assert fetch.is_async and not move.is_async
    assert asyncio.run(fetch.call({"name": "a"})) == {"name": "a"}


def test_outside_a_workflow_a_tool_is_its_function() -> None:
    assert move(Point(x=1)) == Point(x=2)


def test_the_idempotency_key_is_the_runtimes() -> None:
    assert pay.accepts_idempotency_key and "idempotency_key" not in pay.parameters.fields
    assert pay.call({"amount": 2.0, "idempotency_key": "k"}) == "2.0 k"

    @gl.workflow
    def flow(amount: float) -> str:
        return pay(amount)  # type: ignore[call-arg]

    assert flow.program().stages[0].attributes["names"] == ["amount"]


def test_what_writes_is_not_idempotent_unless_it_says_so() -> None:
    assert (move.idempotent, fetch.idempotent, pay.idempotent, put.idempotent) == (
        True,
        True,
        False,
        True,
    )


def test_the_signature_changes_with_types_and_not_with_words() -> None:
    def variant(annotation: Any, returns: Any = int) -> str:
        def fn(a: Any) -> Any:
            return a

        fn.__annotations__ = {"a": annotation, "return": returns}
        return signature_hash(fn, read_signature(fn))

    class One(BaseModel):
        """A docstring."""

        x: int

    class Two(BaseModel):
        """Another."""

        x: str

    first = One

    class One(BaseModel):  # type: ignore[no-redef]
        """Other words, same fields."""

        x: int

    assert variant(int) == variant(int) != variant(str)
    assert variant(int) != variant(int, str)
    assert variant(first) == variant(One) != variant(Two)


def test_two_functions_of_one_type_differ_by_where_they_come_from() -> None:
    assert origin(move.fn).endswith("test_tool:move")
    assert move.signature != signature_hash(pairs.fn, move.parameters)
