"""Agents as tools: a model writes a plan whose steps are calls of agents and tools.

gangline run examples/agents/supervisor_as_tool.py:trip -i wish="Two days in Oslo and Bergen"
"""

# mypy: disable-error-code="empty-body"
from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

import gangline as gl

MODEL = "qwen2.5-coder-1.5b"

FORECAST = {"Oslo": "sun, 18 degrees", "Bergen": "rain, 12 degrees"}


class City(BaseModel):
    city: Literal["Oslo", "Bergen", "Trondheim"]


class Step(BaseModel):
    id: Literal["a", "b", "c", "d"]
    tool: Literal["weather", "guide"]
    arguments: City


@gl.tool(effects="read")
def weather(city: str) -> str:
    """Give tomorrow's weather in a city."""
    return FORECAST.get(city, "unknown")


@gl.llm(model=MODEL, max_tokens=32)
def name_sights(city: str, sky: str) -> str:
    """Name two sights of {city} for this weather: {sky}. One short sentence."""


# A nested agent that a plan may call like a tool. Its own steps are part of the job.
@gl.agent(role="knows what to see in a city")
def guide(city: str) -> str:
    return name_sights(city, weather(city))


@gl.llm(model=MODEL, max_tokens=160)
def plan(wish: str) -> list[Step]:
    """A traveller wants: {wish}
    Plan which questions to ask, one step each, with the ids a, b, c, d:
    weather(city) gives the weather; guide(city) says what to see."""


@gl.llm(model=MODEL, max_tokens=80)
def advise(wish: str, answers: dict[str, Any]) -> str:
    """A traveller wants: {wish}
    What we found out: {answers}
    Advise the traveller in two sentences."""


@gl.workflow
def trip(wish: str) -> str:
    """Plan a trip: ask the agents what the model wants to know, and advise."""
    answers = gl.expand(plan(wish), tools=[weather, guide], max_steps=4)
    return advise(wish, answers)
