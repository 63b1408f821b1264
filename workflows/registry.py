"""The registry: tools, llms and workflows of this process by name, and loading of workflow files.

A name is the function's own; where another module took it already, it is `module.name`. Running
the same definition again (a reloaded file, a notebook cell) replaces it; two different functions
under one name are an error.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from gangline.ir.errors import GanglineError, TraceError, UsageError

from .llm import Llm
from .signature import near
from .sources import definition_line
from .tool import USER_MODULE, Tool
from .workflow import Workflow

__all__ = ["BUILT_IN", "LLMS", "TOOLS", "WORKFLOWS", "Registry", "Tool", "load"]

V = TypeVar("V")

BUILT_IN = {
    "text_to_sql": "gangline.workflows.text_to_sql:text_to_sql",
    "tool_agent": "gangline.workflows.tool_agent:tool_agent",
}
"""Built-in workflows by name, as `module:attribute`."""


class Registry(Generic[V]):
    """Named things of one kind (`tool`, `llm` or `workflow`)."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._found: dict[str, tuple[V, Callable[..., Any]]] = {}

    def add(self, fn: Callable[..., Any], make: Callable[[str], V]) -> V:
        """Choose the name of `fn`, make the thing under that name, and keep it."""
        name = self._name(fn)
        made = make(name)
        self._found[name] = (made, fn)
        return made

    def _name(self, fn: Callable[..., Any]) -> str:
        candidates = (
            fn.__name__,
            f"{fn.__module__}.{fn.__name__}",
            f"{fn.__module__}.{fn.__qualname__}",
        )
        for name in candidates:
            if name not in self._found or _same_definition(self._found[name][1], fn):
                return name
        taken = self._found[candidates[-1]][1]
        raise TraceError(
            f"two different {self.kind}s are named {candidates[-1]!r}",
            where=definition_line(fn),
            next_step=f"Rename one; the other is at {definition_line(taken)}.",
        )

    def get(self, name: str) -> V | None:
        """Find by name; None where nothing has that name."""
        found = self._found.get(name)
        return found[0] if found else None

    def __getitem__(self, name: str) -> V:
        found = self.get(name)
        if found is None:
            raise UsageError(
                f"no {self.kind} is named {name!r}",
                next_step=near(name, self._found)
                or f"Import the file that defines the {self.kind}.",
            )
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._found

    def names(self) -> list[str]:
        """Give all names, sorted."""
        return sorted(self._found)


def _same_definition(old: Callable[..., Any], new: Callable[..., Any]) -> bool:
    if (old.__module__, old.__qualname__) != (new.__module__, new.__qualname__):
        return False
    # A notebook redefines cells all the time; elsewhere a second body is a mistake.
    return new.__module__ == "__main__" or _code(old) == _code(new)


def _code(fn: Callable[..., Any]) -> Any:
    code = getattr(fn, "__code__", None)
    return (code.co_filename, code.co_code, code.co_consts) if code else fn


TOOLS: Registry[Tool[..., Any]] = Registry("tool")
LLMS: Registry[Llm[..., Any]] = Registry("llm")
WORKFLOWS: Registry[Workflow[..., Any]] = Registry("workflow")


def load(reference: str) -> Workflow[..., Any]:
    """Find a workflow: a built-in name, or `path/to/file.py:name` (whose file is imported).

    Raises UsageError where the file or the name is missing; an error inside the file passes
    through unless it is one that only says the file is no Python.
    """
    path, colon, name = reference.rpartition(":")
    if not colon:
        return _built_in(reference)
    module = _import_file(Path(path))
    found = getattr(module, name, None)
    if not isinstance(found, Workflow):
        known = [key for key, value in vars(module).items() if isinstance(value, Workflow)]
        raise UsageError(
            f"{path} has no workflow {name!r}" if found is None else f"{name!r} is no workflow",
            where=path,
            next_step=near(name, known) or f"Its workflows: {', '.join(known) or 'none'}.",
        )
    return found


def _built_in(name: str) -> Workflow[..., Any]:
    reference = BUILT_IN.get(name)
    if reference is None and name.endswith(".py"):
        raise _names_no_workflow(Path(name))
    if reference is None:
        raise UsageError(
            f"no built-in workflow is named {name!r}",
            next_step=near(name, BUILT_IN)
            or f"Give one of {', '.join(BUILT_IN)}, or path/to/file.py:name.",
        )
    module, _, attribute = reference.partition(":")
    found: Workflow[..., Any] = getattr(importlib.import_module(module), attribute)
    return found


def _names_no_workflow(path: Path) -> UsageError:
    module = _import_file(path)
    known = [key for key, value in vars(module).items() if isinstance(value, Workflow)]
    return UsageError(
        f"{path} is a file; say which of its workflows is meant",
        where=str(path),
        next_step=f"Give one of {', '.join(f'{path}:{key}' for key in known)}."
        if known
        else "It has no workflow: decorate a function with @gl.workflow.",
    )


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(
            f"there is no file {path}",
            next_step=_near_file(path) or "Write path/to/file.py:name.",
        )
    resolved = path.resolve()
    digest = hashlib.blake2b(str(resolved).encode(), digest_size=6).hexdigest()
    # Unique by path, so that two files of one name do not meet; stable, so that names stay.
    name = f"{USER_MODULE}{digest}_{resolved.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, resolved)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file", next_step="Write path/to/file.py:name.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    folder = str(resolved.parent)
    if folder not in sys.path:
        sys.path.append(folder)  # modules beside the file; last, so that they replace none
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, GanglineError) or not isinstance(error, Exception):
            raise
        raise UsageError(
            f"{path} cannot be imported: {type(error).__name__}: {error}",
            where=str(path),
            next_step=f"Run `python {path}` to see the whole traceback.",
        ) from error
    return module


def _near_file(path: Path) -> str:
    folder = path.parent
    names = [found.name for found in folder.glob("*.py")] if folder.is_dir() else []
    found = difflib.get_close_matches(path.name, names, n=1)
    return f"Did you mean {folder / found[0]}?" if found else ""
