"""Compile workflows in a forked child, so that the server never holds the compiler.

The MLIR bindings take 80 MB, and only for the moment a program is made. The child inherits the
workflows as they are loaded, makes the programs and sends them back as JSON; meanwhile this process
goes on importing what the server needs.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gangline.workflows.workflow import Workflow

Finish = Callable[[], None]


def precompile(workflows: Sequence[Workflow[..., Any]]) -> Finish:
    """Begin to compile workflows; call what it gives before their programs are needed.

    Where no child can be had, or one of them cannot be compiled, that call makes the programs in
    this process, where errors are raised. Call this while the process has one thread.
    """
    if not hasattr(os, "fork") or sys.platform == "darwin" or threading.active_count() > 1:
        return lambda: _compile(workflows)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _send(workflows, writer)
    os.close(writer)

    def finish() -> None:
        with os.fdopen(reader, "rb") as pipe:
            sent = pipe.read()
        os.waitpid(child, 0)
        if sent:
            _adopt(workflows, json.loads(sent))
        _compile(workflows)

    return finish


def _compile(workflows: Sequence[Workflow[..., Any]]) -> None:
    for workflow in workflows:
        workflow.program()


def _send(workflows: Sequence[Workflow[..., Any]], writer: int) -> None:
    """Write the programs and end this process, past everything the parent had set up."""
    code = 1
    try:
        programs = [workflow.program().to_json() for workflow in workflows]
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(json.dumps(programs).encode())
        code = 0
    finally:
        os._exit(code)


def _adopt(workflows: Sequence[Workflow[..., Any]], programs: Sequence[Any]) -> None:
    from gangline.ir.program import Program

    for workflow, program in zip(workflows, programs, strict=True):
        workflow.adopt(Program.from_json(program))
