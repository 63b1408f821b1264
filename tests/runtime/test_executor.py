"""The executor: real threads, a fake backend, a real store."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from gangline.runtime.executor import Executor
from gangline.runtime.job import Job
from gangline.runtime.store import Store


def job(program: Any, **inputs: Any) -> Job:
    return Job("hand_made", program, inputs, device="cpu/0")


def test_straight_line(builder: Any, plain_tool: Any, tools: Any, executor: Executor) -> None:
    tools["shout"] = plain_tool(lambda a0: a0.upper())
    p = builder("who")
    program = p.done(p.tool("shout", p.llm("greet", p.inputs[0])))
    result = executor.run(job(program, who="Ada"))
    assert (result.status, result.output) == ("succeeded", "HELLO")
    assert [step.id for step in result.steps] == [
        "greet.tokenize",
        "greet.prefill",
        "greet.decode",
        "greet.detokenize",
        "shout",
    ]
    by_id = {step.id: step for step in result.steps}
    assert by_id["greet.decode"].parents == ("greet.prefill",)
    assert by_id["shout"].parents == ("greet.detokenize",)
    assert by_id["greet.decode"].output_tokens == 5
    assert by_id["greet.prefill"].prompt_tokens == by_id["greet.tokenize"].prompt_tokens
    assert all(step.status == "succeeded" and step.device == "cpu/0" for step in result.steps)


def test_stored_job_gives_the_same_document(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor, store: Store
) -> None:
    from gangline.runtime.job import result_of

    tools["double"] = plain_tool(lambda a0: 2 * a0)
    p = builder("n")
    program = p.done(p.tool("double", p.inputs[0]))
    result = executor.run(job(program, n=21))
    assert result_of(store.events(result.job_id)).to_json() == result.to_json()
    assert store.job(result.job_id).status == "succeeded"
    assert [event.seq for event in store.events(result.job_id)] == [1, 2, 3, 4, 5]


def test_map_runs_side_by_side_in_order(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor
) -> None:
    together = threading.Barrier(4, timeout=20)

    def meet(a0: int) -> int:
        together.wait()
        return a0 * a0

    tools["meet"] = plain_tool(meet)
    p = builder("n")
    program = p.done(p.map(p.compute("range", p.inputs[0]), lambda item: p.tool("meet", item)))
    assert executor.run(job(program, n=4)).output == [0, 1, 4, 9]


def test_async_tool_runs_on_the_loop(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor
) -> None:
    async def later(a0: int) -> int:
        await asyncio.sleep(0)
        return a0 + 1

    tools["later"] = plain_tool(later, is_async=True)
    p = builder("n")
    assert executor.run(job(p.done(p.tool("later", p.inputs[0])), n=1)).output == 2


def test_failing_tool_fails_the_job_with_its_place(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor
) -> None:
    tools["divide"] = plain_tool(lambda a0: 1 // a0)
    p = builder("n")
    result = executor.run(job(p.done(p.tool("divide", p.inputs[0])), n=0))
    assert result.status == "failed" and result.error is not None
    assert result.error["code"] == "step"
    assert "ZeroDivisionError" in result.error["detail"] and "divide" in result.error["where"]
    assert result.steps[0].status == "failed"


def test_many_jobs_at_once(builder: Any, plain_tool: Any, tools: Any, executor: Executor) -> None:
    together = threading.Barrier(8, timeout=20)

    def meet(a0: Any) -> Any:
        together.wait()
        return a0

    tools["meet"] = plain_tool(meet)
    p = builder("n")
    program = p.done(p.llm("greet", p.tool("meet", p.inputs[0])))
    futures = [executor.submit(job(program, n=n)) for n in range(8)]
    assert [future.result(20).output for future in futures] == ["hello"] * 8
