"""Tracing: run a workflow's function on symbols and record what it does.

One `Tracer` records one module: the workflow and every workflow it calls. A `Scope` is one block
being recorded; scopes nest as the bodies of branches, maps and loops do.

Order of effects: a workflow is a graph, so two tools without a value between them could run in
any order. A tool that writes therefore waits for every tool before it that reads or writes, and
a tool that reads waits for the last write: the earlier results are added as operands after the
named ones. Programs without writes get no such operands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from gangline.ir.errors import TraceError
from gangline.ir.graph import Block, Function, Node, Value

from .hints import describe, is_assignable, type_name
from .lifting import Lifter
from .sources import author_line
from .symbols import Symbol, kind_of

if TYPE_CHECKING:
    from .workflow import Workflow

MAX_NODES = 100_000
"""A trace this long is an unrolled Python loop that should be a gl.map or gl.loop."""

_ACTIVE: ContextVar[Tracer | None] = ContextVar("gangline_tracer", default=None)


class Scope:
    """One block being recorded, and the effects seen in it so far."""

    __slots__ = ("block", "kind", "outer", "reads", "writes")

    def __init__(self, kind: str, outer: Scope | None, arguments: tuple[Value, ...]) -> None:
        self.kind = kind
        self.outer = outer
        self.block = Block(arguments=arguments)
        # Effects since (and with) the last write; an inner scope starts from its outer's.
        self.reads: list[Value] = list(outer.reads) if outer else []
        self.writes: list[Value] = list(outer.writes) if outer else []

    def chain(self) -> Iterator[Scope]:
        """Yield this scope and those around it."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.outer


class Tracer:
    """Records the functions of one module, the workflow first."""

    def __init__(self) -> None:
        self.functions: dict[str, Function] = {}
        self._tracing: list[Workflow[..., Any]] = []
        self._owners: dict[str, Workflow[..., Any]] = {}
        self._effects: dict[str, str] = {}
        self._patterns: dict[str, set[str]] = {}
        self._scope: Scope | None = None
        self._num_nodes = 0

    @property
    def scope(self) -> Scope:
        """The scope that records at present; there is one while a function is traced."""
        assert self._scope is not None
        return self._scope

    # Functions ------------------------------------------------------------------------------

    def trace(self, workflow: Workflow[..., Any]) -> str:
        """Record a workflow (once) and give the name of its function."""
        if workflow in self._tracing:
            raise TraceError(
                f"{workflow.name}() calls itself",
                where=author_line(),
                next_step="Write gl.loop(body, first, until=..., max_trips=...) instead.",
            )
        owner = self._owners.setdefault(workflow.name, workflow)
        if owner is not workflow:
            raise TraceError(
                f"two workflows are named {workflow.name!r}",
                where=author_line() or workflow.where,
                next_step=f"Rename one of them; they are at {owner.where} and {workflow.where}.",
            )
        if workflow.name not in self.functions:
            self._record(workflow)
        return workflow.name

    def _record(self, workflow: Workflow[..., Any]) -> None:
        inputs = workflow.graph_inputs
        arguments = tuple(Value(given.type) for given in inputs)
        outer, self._scope = self._scope, Scope("workflow", None, arguments)
        self._tracing.append(workflow)
        token = _ACTIVE.set(self)
        try:
            fields = workflow.signature.fields.values()
            symbols = [
                Symbol(value, field.annotation, self.scope)
                for value, field in zip(arguments, fields, strict=True)
            ]
            result = workflow.fn(*symbols)
            where = workflow.where
            value = self.converted(result, workflow.returns, f"{workflow.name}() returns", where)
            self.scope.block.yields = (value,)
            if self.scope.writes:
                self._effects[workflow.name] = "write"
            elif self.scope.reads:
                self._effects[workflow.name] = "read"
            self.functions[workflow.name] = Function(
                name=workflow.name,
                inputs=inputs,
                body=self.scope.block,
                deadline_s=workflow.deadline_s,
                budget_usd=workflow.budget_usd,
                where=where,
                pattern=workflow.pattern or self._found_pattern(workflow),
                role=workflow.role or None,
            )
        finally:
            _ACTIVE.reset(token)
            self._tracing.pop()
            self._scope = outer

    def note_pattern(self, pattern: str) -> None:
        """Note how the function that is being traced lets its agents work together."""
        self._patterns.setdefault(self._tracing[-1].name, set()).add(pattern)

    def pattern_of(self, function: str) -> str | None:
        """Give the pattern of a recorded function, where it is an agent's or was noted."""
        return self.functions[function].pattern

    def _found_pattern(self, workflow: Workflow[..., Any]) -> str | None:
        """Give the pattern that a function showed; an agent's is never unknown."""
        noted = self._patterns.get(workflow.name, set())
        if noted:
            return next(iter(noted)) if len(noted) == 1 else "custom"
        if not workflow.is_agent:
            return None
        calls = any(node.op == "agent.call" for node in self.scope.block.walk())
        return "custom" if calls else "single"

    def ordered(self, root: str) -> list[Function]:
        """Give the functions with `root` first and the others in the order of first use."""
        others = [self.functions[name] for name in self._owners if name != root]
        return [self.functions[root], *others]

    # Nodes ----------------------------------------------------------------------------------

    def emit(
        self,
        op: str,
        operands: Sequence[Value],
        attributes: dict[str, Any],
        annotation: Any,
        blocks: tuple[Block, ...] = (),
        *,
        ir_type: str | None = None,
    ) -> Symbol:
        """Record a node at the author's line and give the symbol of its result."""
        self._num_nodes += 1
        where = author_line()
        if self._num_nodes > MAX_NODES:
            raise TraceError(
                f"the workflow records more than {MAX_NODES} operations",
                where=where,
                next_step="Write gl.map or gl.loop instead of a Python loop.",
            )
        result = Value(ir_type or type_name(annotation))
        shown = {key: value for key, value in attributes.items() if value is not None}
        self.scope.block.nodes.append(Node(op, tuple(operands), shown, result, blocks, where))
        return Symbol(result, annotation, self.scope)

    def compute(self, fn: str, operands: Sequence[Any], annotation: Any, **more: Any) -> Symbol:
        """Record a computation the dispatcher does itself."""
        values = [self.value(operand) for operand in operands]
        return self.emit("agent.compute", values, {"fn": fn, **more}, annotation)

    def constant(self, value: Any, annotation: Any) -> Symbol:
        """Record a JSON constant."""
        return self.emit("agent.constant", (), {"value": value}, annotation)

    # Python values ----------------------------------------------------------------------------

    def lift(self, value: Any, annotation: Any = Any) -> Symbol:
        """Give the symbol of any Python value: a symbol, a constant, or a container of both."""
        return Lifter(self).lift(value, annotation)

    def value(self, value: Any) -> Value:
        """Give the IR value of a Python value; TraceError where it belongs to another block."""
        symbol = self.lift(value)
        if symbol._gl_scope not in self.scope.chain():
            raise TraceError(
                f"a {describe(symbol._gl_type)} made inside the body of a "
                f"gl.{symbol._gl_scope.kind} is used outside of it"
                if symbol._gl_scope.kind != "workflow"
                else f"a {describe(symbol._gl_type)} of another trace is used here",
                where=author_line(),
                next_step="Return it from the function that makes it, and use the result.",
            )
        found: Value = symbol._gl_value
        return found

    def argument(self, value: Any, annotation: Any, what: str) -> Value:
        """Give the IR value of an argument; TraceError where its type does not fit."""
        symbol = self.checked(value, annotation, what)
        return self.value(symbol)

    def checked(self, value: Any, annotation: Any, what: str, where: str = "") -> Symbol:
        """Lift a value and check its type; `what` begins the sentence of the error."""
        symbol = self.lift(value, annotation)
        if not is_assignable(symbol._gl_type, annotation):
            raise TraceError(
                f"{what} {describe(kind_of(symbol))} where {describe(annotation)} is wanted",
                where=where or author_line(),
                next_step=f"Give a value of type {describe(annotation)}, or change the annotation.",
            )
        return symbol

    def converted(self, value: Any, annotation: Any, what: str, where: str = "") -> Value:
        """As `argument`, cast to the exact IR type of the annotation (for returns and yields)."""
        symbol = self.checked(value, annotation, what, where)
        found = self.value(symbol)
        wanted = type_name(annotation)
        if found.type == wanted:
            return found
        cast: Value = self.emit("agent.cast", (found,), {}, annotation)._gl_value
        return cast

    # Bodies -----------------------------------------------------------------------------------

    @contextmanager
    def body(self, kind: str, arguments: tuple[Value, ...] = ()) -> Iterator[Scope]:
        """Record what runs inside as a block of its own."""
        scope = Scope(kind, self._scope, arguments)
        with self.inside(scope):
            yield scope

    @contextmanager
    def inside(self, scope: Scope) -> Iterator[None]:
        """Go on recording in a scope that was left before."""
        outer, self._scope = self._scope, scope
        try:
            yield
        finally:
            self._scope = outer

    # Effects ------------------------------------------------------------------------------------

    def after(self, effects: str) -> list[Value]:
        """Give the values an operation with these effects has to wait for."""
        if effects == "write":
            return [*self.scope.writes, *self.scope.reads]
        return list(self.scope.writes) if effects == "read" else []

    def happened(self, effects: str, result: Value) -> None:
        """Note that an operation with these effects gave `result`."""
        if effects == "write":
            self.scope.writes, self.scope.reads = [result], []
        elif effects == "read":
            self.scope.reads.append(result)

    def happened_inside(self, scopes: Sequence[Scope], result: Value) -> None:
        """Note that a control operation, whose bodies were `scopes`, gave `result`."""
        if any(scope.writes != self.scope.writes for scope in scopes):
            # It may write nothing at all (a loop without a trip), and then it has not waited for
            # what was before it: whatever comes later waits for both.
            self.scope.writes = [*self.scope.writes, result]
        elif any(scope.reads != self.scope.reads for scope in scopes):
            self.happened("read", result)

    def effects_of(self, function: str) -> str:
        """Give the strongest effect of a recorded function."""
        return self._effects.get(function, "none")


def current() -> Tracer:
    """Give the tracer at work; TraceError outside a workflow."""
    tracer = _ACTIVE.get()
    if tracer is None:
        raise TraceError(
            "this is only possible inside a workflow",
            where=author_line(),
            next_step="Call it inside a function decorated with @gl.workflow.",
        )
    return tracer


def require_name(name: object) -> None:
    """Raise TraceError unless `name` can be the name of a step."""
    if not isinstance(name, str) or not name.isidentifier():
        raise TraceError(
            f"{name!r} cannot be the name of a step",
            where=author_line(),
            next_step='Write a name as of a variable, for example name="confirm".',
        )


def is_tracing() -> bool:
    """Tell whether a workflow is being traced in this context."""
    return _ACTIVE.get() is not None
