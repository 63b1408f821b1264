"""Rules of a module that span an operation's parts or several operations.

Each rule takes a module whose operations fit the op table as far as checked, and yields what is
wrong. A rule looks at what it needs with care: earlier violations do not stop it from running.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from gangline.ir.errors import GanglineError, VerifyError

from .attributes import decode_all
from .memory_rules import memory_fits
from .module import Module, blocks, mlir, walk, where
from .ops import (
    ASK_OPERANDS,
    COMPUTE_ARITY,
    EFFECTS,
    GRAMMAR_KINDS,
    OPS,
    PLANNED_AGENT,
    PLANNED_TOOL,
    ROLES,
    SAMPLING_OPERANDS,
)

Rule = Callable[[Module], Iterator[VerifyError]]

_FIELD = re.compile(r"\{\{|\}\}|\{([A-Za-z_]\w*)\}")


def _all(module: Module, *names: str) -> Iterator[Any]:
    for function in module.functions():
        yield from (op for op in walk(function) if op.name in names)


def _json(op: Any) -> dict[str, Any]:
    try:
        return decode_all(op)
    except GanglineError:
        return {}


def names_fit_operands(module: Module) -> Iterator[VerifyError]:
    """Names are distinct; each belongs to one operand (later operands only order effects)."""
    for op in _all(
        module,
        "agent.llm",
        "agent.tool",
        "agent.ask",
        "agent.expand",
        "agent.recall",
        "agent.remember",
        "agent.observe",
        "stage.tool",
        "stage.ask",
        "stage.expand",
        "stage.lookup",
        "stage.store",
        "stage.observe",
        "stage.tokenize",
        "stage.decode",
    ):
        names = _json(op).get("names")
        if not isinstance(names, list):
            continue
        count = len(op.operands) - len(OPS[op.name].operands)
        exact = op.name.endswith((".llm", ".tokenize", ".decode"))
        if len(names) > count or (exact and len(names) < count):
            yield VerifyError(f"{op.name} names {len(names)} of {count} operands", where=where(op))
        if len(set(map(str, names))) < len(names):
            yield VerifyError(f"{op.name} names an operand twice", where=where(op))


def templates_fit_names(module: Module) -> Iterator[VerifyError]:
    """A template is a list of messages, and its fields are named operands."""
    for op in _all(module, "agent.llm", "stage.tokenize"):
        found = _json(op)
        messages, names = found.get("template"), found.get("names")
        if not isinstance(names, list):
            continue
        if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
            yield VerifyError(
                f"the template of {op.name} is no list of {{role, text}}", where=where(op)
            )
            continue
        used = {m[1] for row in messages for m in _FIELD.finditer(row["text"]) if m[1]}
        for name in sorted(used - set(names)):
            yield VerifyError(f"the template of {op.name} uses {{{name}}}", where=where(op))
        for name in sorted(set(names) - used - set(SAMPLING_OPERANDS)):
            yield VerifyError(f"the template of {op.name} lacks {{{name}}}", where=where(op))


def _is_message(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and set(row) == {"role", "text"}
        and row["role"] in ROLES
        and isinstance(row["text"], str)
    )


def grammars_are_known(module: Module) -> Iterator[VerifyError]:
    """A constant grammar has a known kind and a text, and excludes a grammar operand."""
    for op in _all(module, "agent.llm", "stage.decode"):
        found = _json(op)
        grammar = found.get("grammar")
        if grammar is None:
            continue
        known = isinstance(grammar, dict) and set(grammar) == {"kind", "text"}
        if not known or grammar["kind"] not in GRAMMAR_KINDS:
            yield VerifyError(f"the grammar of {op.name} is no {{kind, text}}", where=where(op))
        if "grammar" in (found.get("names") or ()):
            yield VerifyError(f"{op.name} has two grammars", where=where(op))


def decode_names_are_options(module: Module) -> Iterator[VerifyError]:
    """Operands of a decode after the kv are sampling options."""
    for op in _all(module, "stage.decode"):
        for name in _json(op).get("names") or ():
            if name not in SAMPLING_OPERANDS:
                yield VerifyError(f"stage.decode has no option {name!r}", where=where(op))


def computes_fit(module: Module) -> Iterator[VerifyError]:
    """A compute function has as many operands as it takes, and its key or keys."""
    for op in _all(module, "agent.compute", "stage.compute"):
        found, count = _json(op), len(op.operands)
        fn = str(found.get("fn"))
        if fn not in COMPUTE_ARITY:
            continue
        fewest, most = COMPUTE_ARITY[fn]
        if count < fewest or (most is not None and count > most):
            yield VerifyError(f"compute {fn} does not take {count} operands", where=where(op))
        if ("key" in found) != (fn == "get"):
            yield VerifyError(f"compute {fn}: `key` goes with `get` alone", where=where(op))
        keys = found.get("keys")
        if (keys is not None) != (fn == "dict") or (keys is not None and len(keys) != count):
            yield VerifyError(
                f"compute {fn}: `keys` goes with `dict`, one per operand", where=where(op)
            )


def asks_fit(module: Module) -> Iterator[VerifyError]:
    """An ask names its question first and maybe choices; its schema is a JSON Schema."""
    for op in _all(module, "agent.ask", "stage.ask"):
        found = _json(op)
        names = found.get("names")
        if isinstance(names, list) and tuple(names) not in (ASK_OPERANDS[:1], ASK_OPERANDS):
            yield VerifyError(f"{op.name} does not name question (and choices)", where=where(op))
        if not isinstance(found.get("schema"), dict | bool):
            yield VerifyError(f"the schema of {op.name} is no JSON Schema", where=where(op))


def expands_fit(module: Module) -> Iterator[VerifyError]:
    """An expand names its plan first, then what the author fills; its tools are whole rows."""
    for op in _all(module, "agent.expand", "stage.expand"):
        found = _json(op)
        names, tools = found.get("names"), found.get("tools")
        if isinstance(names, list) and names[:1] != ["plan"]:
            yield VerifyError(f"{op.name} does not name its plan first", where=where(op))
        if not (isinstance(tools, list) and tools and all(map(_is_planned_tool, tools))):
            yield VerifyError(f"the tools of {op.name} are no list of tools", where=where(op))
            continue
        if len({row["name"] for row in tools}) < len(tools):
            yield VerifyError(f"two tools of {op.name} have one name", where=where(op))
        for name in sorted({name for row in tools for name in row["given"]} - set(names or ())):
            yield VerifyError(f"{op.name} does not give {name!r} to its tools", where=where(op))


def _is_planned_tool(row: Any) -> bool:
    if not isinstance(row, dict):
        return False
    called = "agent" if "agent" in row else "tool"
    return (
        set(row) - {"labels"} == (PLANNED_AGENT if called == "agent" else PLANNED_TOOL)
        and isinstance(row[called], str)
        and isinstance(row["name"], str)
        and row["effects"] in EFFECTS
        and isinstance(row["parameters"], dict)
        and isinstance(row["required"], list)
        and set(row["required"]) <= set(row["parameters"])
        and isinstance(row["given"], list)
        and not set(row["given"]) & set(row["parameters"])
    )


def planned_agents(op: Any) -> list[dict[str, Any]]:
    """Give the rows of the nested agents that a plan of an expand may call."""
    rows = _json(op).get("tools") if op.name.endswith(".expand") else None
    found = [row for row in rows if _is_planned_tool(row)] if isinstance(rows, list) else []
    return [row for row in found if "agent" in row]


def calls_resolve(module: Module) -> Iterator[VerifyError]:
    """A call names a function of the module, with its types; no function reaches itself."""
    functions = {f.attributes["sym_name"].value: f for f in module.functions()}
    edges: dict[str, set[str]] = {name: set() for name in functions}
    for name, function in functions.items():
        for op in (op for op in walk(function) if op.name == "agent.call"):
            callee = str(_json(op).get("callee"))
            if callee not in functions:
                yield VerifyError(f"agent.call of @{callee}, which is not there", where=where(op))
                continue
            edges[name].add(callee)
            kind = mlir.FunctionType(functions[callee].attributes["function_type"].value)
            given = [value.type for value in op.operands], [value.type for value in op.results]
            if given != (list(kind.inputs), list(kind.results)):
                yield VerifyError(f"agent.call of @{callee} does not fit {kind}", where=where(op))
        for op in walk(function):
            for row in planned_agents(op):
                callee = row["agent"]
                if callee not in functions:
                    yield VerifyError(
                        f"{op.name} names the agent @{callee}, which is not there", where=where(op)
                    )
                    continue
                edges[name].add(callee)
                if _input_names(functions[callee]) != {*row["parameters"], *row["given"]}:
                    yield VerifyError(
                        f"{op.name} does not give the inputs of the agent @{callee}",
                        where=where(op),
                    )
    for name, function in functions.items():
        if _reaches(edges, name):
            yield VerifyError(f"function @{name} calls itself", where=where(function))


def _input_names(function: Any) -> set[str]:
    rows = list(function.attributes["arg_attrs"]) if "arg_attrs" in function.attributes else []
    return {row["agent.name"].value for row in rows if "agent.name" in row}


def _reaches(edges: dict[str, set[str]], start: str) -> bool:
    pending, seen = list(edges[start]), set()
    # Invariant: `seen` holds functions reached whose callees are in `pending` or `seen`.
    while pending:
        name = pending.pop()
        if name == start:
            return True
        if name not in seen:
            seen.add(name)
            pending.extend(edges[name])
    return False


def branches_give_one(module: Module) -> Iterator[VerifyError]:
    """An scf.if gives one value."""
    for op in _all(module, "scf.if"):
        if len(op.results) != 1:
            yield VerifyError("a branch gives one value", where=where(op))
        yield from _labelled(op)


def _labelled(op: Any) -> Iterator[VerifyError]:
    if "agent.name" not in op.attributes:
        yield VerifyError(f"{op.name} needs the attribute 'agent.name'", where=where(op))


def loops_are_bounded(module: Module) -> Iterator[VerifyError]:
    """An scf.while carries one value unchanged to its body and has a bound."""
    for op in _all(module, "scf.while"):
        yield from _labelled(op)
        bound = _json(op).get("agent.max_trips")
        if not isinstance(bound, int) or isinstance(bound, bool) or bound < 1:
            yield VerifyError("a loop needs agent.max_trips of at least 1", where=where(op))
        condition = list(op.regions[0].blocks[0].operations)[-1].operation
        carried = list(condition.operands)[1:]
        if len(op.results) != 1 or carried != list(op.regions[0].blocks[0].arguments):
            yield VerifyError("a loop carries one value, which it tests as it is", where=where(op))
        if _producer(condition.operands[0]) != "agent.until":
            yield VerifyError("the condition of a loop comes from agent.until", where=where(op))


def _producer(value: Any) -> str:
    owner = value.owner
    return "" if isinstance(owner, mlir.Block) else str(owner.operation.name)


def maps_are_maps(module: Module) -> Iterator[VerifyError]:
    """An scf.for is a parallel map: element of its own list first, append of one value last."""
    for op in _all(module, "scf.for"):
        yield from _labelled(op)
        if "agent.parallel" not in op.attributes:
            yield VerifyError("an scf.for is a map and needs agent.parallel", where=where(op))
        elif not _is_map(op):
            yield VerifyError(
                "a map reads agent.element first, appends one value last, and runs from 0 by 1 "
                "to agent.length of its list",
                where=where(op),
            )


def _is_map(op: Any) -> bool:
    block = op.regions[0].blocks[0]
    inner = [found.operation for found in block.operations]
    if len(inner) < 3 or len(op.operands) != 4:
        return False
    first, last, end = inner[0], inner[-2], inner[-1]
    index, collected = block.arguments[0], block.arguments[1]
    if (first.name, last.name, end.name) != ("agent.element", "agent.append", "scf.yield"):
        return False
    length = op.operands[1]
    others = sum(found.name in ("agent.element", "agent.append") for found in inner)
    return (
        others == 2
        and _producer(length) == "agent.length"
        and length.owner.operation.operands[0] == first.operands[0]
        and _producer(op.operands[3]) == "agent.empty"
        and _bounds(op) == (0, 1)
        and first.operands[1] == index
        and last.operands[0] == collected
        and end.operands[0] == last.results[0]
        and len(list(index.uses)) == 1
        and len(list(collected.uses)) == 1
    )


def _bounds(op: Any) -> tuple[Any, Any]:
    found = [
        value.owner.operation.attributes["value"].value
        if _producer(value) == "arith.constant"
        else None
        for value in (op.operands[0], op.operands[2])
    ]
    return found[0], found[1]


def glue_is_in_place(module: Module) -> Iterator[VerifyError]:
    """Element and append stand directly in a map; until directly in a loop's test."""
    homes = {"agent.element": "scf.for", "agent.append": "scf.for", "agent.until": "scf.while"}
    for op in _all(module, *homes):
        if op.parent is None or op.parent.operation.name != homes[op.name]:
            yield VerifyError(f"{op.name} stands outside of an {homes[op.name]}", where=where(op))


def stages_pair_up(module: Module) -> Iterator[VerifyError]:
    """A decode continues a prefill of its own model and block; one kv has one decode."""
    for op in _all(module, "stage.decode"):
        if not len(op.operands) or _producer(op.operands[0]) != "stage.prefill":
            yield VerifyError("stage.decode takes its kv from a stage.prefill", where=where(op))
            continue
        prefill = op.operands[0].owner.operation
        if prefill.block != op.block:
            yield VerifyError("stage.decode and its prefill share a block", where=where(op))
        if _json(prefill).get("model") != _json(op).get("model"):
            yield VerifyError("stage.decode and its prefill differ in model", where=where(op))


def control_has_plain_blocks(module: Module) -> Iterator[VerifyError]:
    """Every region has one block."""
    for function in module.functions():
        for op in (function, *walk(function)):
            if len(list(blocks(op))) != len(op.regions):
                yield VerifyError(f"a region of {op.name} has no or many blocks", where=where(op))


RULES: tuple[Rule, ...] = (
    control_has_plain_blocks,
    names_fit_operands,
    templates_fit_names,
    grammars_are_known,
    decode_names_are_options,
    computes_fit,
    asks_fit,
    memory_fits,
    expands_fit,
    calls_resolve,
    branches_give_one,
    loops_are_bounded,
    glue_is_in_place,
    maps_are_maps,
    stages_pair_up,
)
