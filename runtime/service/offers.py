"""Which workflows a server offers: by name only, compiled once, inputs checked by cached adapters."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, get_args

from gangline.ir.errors import NotFoundError
from gangline.ir.program import Parameter, Program
from gangline.runtime.dispatch.job import check_inputs
from gangline.runtime.session import limits, with_model
from gangline.workflows import hints
from gangline.workflows.databases import DATABASES
from gangline.workflows.values import Database

if TYPE_CHECKING:
    from gangline.workflows.workflow import Workflow

MAX_PROGRAMS = 16
"""Programs kept per workflow, one for each model a caller asked for."""


class Offer:
    """One workflow callers may run.

    Attributes:
        source: how it was named to the server (`text_to_sql`, `file.py:name`), so that another
            process can load its tools.
    """

    def __init__(self, workflow: Workflow[..., Any], source: str = "") -> None:
        self.workflow = workflow
        self.name = workflow.name
        self.source = source
        self._programs: dict[str | None, Program] = {}
        self._lock = threading.Lock()
        self._databases = {
            name: find
            for name, field in workflow.signature.fields.items()
            if (find := _databases(field.annotation)) is not None
        }

    @property
    def is_compiled(self) -> bool:
        """Say whether the program is there without waiting."""
        return None in self._programs

    async def compiled(self, model: str | None = None) -> Program:
        """Give the program, compiled on a thread if it was not yet: that takes a while."""
        found = self._programs.get(model)
        if found is not None:
            return found
        return await asyncio.to_thread(self.program, model)

    def program(self, model: str | None = None) -> Program:
        """Give the compiled program, every llm on `model` where one is named; ModelError if the
        model is not known."""
        found = self._programs.get(model)
        if found is not None:
            return found
        with self._lock:
            return self._compile(model)

    def _compile(self, model: str | None) -> Program:
        found = self._programs.get(model)
        if found is None:
            if model is not None:
                from gangline.runtime.machine.models import find

                find(model)
            if len(self._programs) >= MAX_PROGRAMS:
                oldest = next(name for name in self._programs if name is not None)
                del self._programs[oldest]
            found = self._programs[model] = with_model(self.workflow.program(), model)
        return found

    def checked(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Give inputs as plain JSON; InputError for one that is missing, unknown or of a wrong
        type, or for a database that is not a registered name: callers never send a location."""
        check_inputs(self.program(), inputs)
        checked = self.workflow.checked(inputs)
        for name, find in self._databases.items():
            for database in find(checked.get(name)):
                DATABASES.require(str(database))
        return checked

    def document(self) -> dict[str, Any]:
        """Describe the workflow to callers: what it takes, and its own limits."""
        program = self.program()
        deadline_s, budget_usd = limits(self.workflow, program)
        return {
            "name": self.name,
            "description": (self.workflow.__doc__ or "").strip(),
            "inputs": [
                {
                    "name": row.name,
                    "type": row.type,
                    "schema": _schema(row),
                    "required": row.required,
                    "default": row.default,
                }
                for row in program.inputs
            ],
            "deadline_s": deadline_s,
            "budget_usd": budget_usd,
            "program_hash": program.hash,
            "num_stages": len(program.stages),
        }


def _schema(row: Parameter) -> dict[str, Any]:
    """Give the JSON Schema of an input; a database is one of the registered names."""
    found = dict(row.schema) or {"type": _JSON_TYPES.get(row.type, "string")}
    if row.type == "database" and (names := DATABASES.names()):
        found["enum"] = names
    return found


_JSON_TYPES = {"text": "string", "int": "integer", "float": "number", "bool": "boolean"}


class Offers:
    """Workflows by name."""

    def __init__(self, workflows: Iterable[Workflow[..., Any] | str] = ()) -> None:
        self._found: dict[str, Offer] = {}
        for workflow in workflows:
            self.add(workflow)

    def add(self, workflow: Workflow[..., Any] | str) -> Offer:
        """Offer a workflow: itself, or named as on the command line (its file is imported)."""
        source = ""
        if isinstance(workflow, str):
            from gangline.workflows.registry import load

            source, workflow = workflow, load(workflow)
        made = self._found[workflow.name] = Offer(workflow, source)
        return made

    def find(self, name: str) -> Offer:
        """Find by name; NotFoundError where the server offers no such workflow."""
        found = self._found.get(name)
        if found is None:
            raise NotFoundError(
                f"No workflow is called {name!r} here",
                where="workflow",
                next_step=f"This server offers: {', '.join(self.names()) or 'none'}.",
            )
        return found

    def names(self) -> list[str]:
        """Give all names, sorted."""
        return sorted(self._found)


Find = Callable[[Any], Iterable[Any]]


def _databases(annotation: Any, depth: int = 4) -> Find | None:
    """Give what finds the databases in a value of a type; None for a type without any."""
    kind = hints.strip(annotation)
    if kind == Database:
        return lambda value: () if value is None else (value,)
    if depth == 0 or not (get_args(kind) or hints.fields(kind)):
        return None
    if (fields := hints.fields(kind)) is not None:
        named = {name: _databases(inner, depth - 1) for name, inner in fields.items()}
        found = {name: find for name, find in named.items() if find is not None}
        return (lambda value: _in_members(value, found)) if found else None
    inner = [find for part in get_args(kind) if (find := _databases(part, depth - 1)) is not None]
    return (lambda value: _in_any(value, inner)) if inner else None


def _in_members(value: Any, found: Mapping[str, Find]) -> Iterator[Any]:
    for name, find in found.items():
        if isinstance(value, Mapping):
            yield from find(value.get(name))


def _in_any(value: Any, inner: Iterable[Find]) -> Iterator[Any]:
    """Look into a list, a mapping's values, or the value itself (of an optional type)."""
    parts = value.values() if isinstance(value, Mapping) else value
    for part in parts if isinstance(value, list | tuple | Mapping) else (value,):
        for find in inner:
            yield from find(part)
