"""The command tree, and how every command ends: exit codes, errors, interrupts."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import typer

from gangline.ir.errors import GanglineError, JobError, UsageError

from . import (
    calibrate,
    check,
    devices,
    evaluate,
    explain,
    jobs,
    keys,
    memory,
    models,
    plan,
    run_command,
    serve,
    tco,
)
from .interrupted import Interrupted
from .output import exit_code, print_error

INTERRUPTED = 130

app = typer.Typer(
    name="gangline",
    help="Compile, place and run agent workflows on mixed devices.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run_command.run)
app.command("explain")(explain.explain)
app.command("check")(check.check)
app.command("plan")(plan.plan)
app.command("tco")(tco.tco)
app.command("eval")(evaluate.evaluate)
app.command("serve")(serve.serve)
app.command("devices")(devices.devices)
app.command("calibrate")(calibrate.calibrate)
app.add_typer(models.app, name="models")
app.add_typer(jobs.app, name="jobs")
app.add_typer(keys.app, name="keys")
app.add_typer(memory.app, name="memory")


@app.callback(invoke_without_command=True)
def options(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks."),
) -> None:
    if version:
        from gangline import __version__

        typer.echo(f"gangline {__version__}")
        raise typer.Exit


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code.

    Whatever goes wrong is said in one paragraph, or with `--json` in one document; `--debug`
    adds the traceback, on stderr.
    """
    debug, as_json = "--debug" in arguments, "--json" in arguments
    # --debug is accepted anywhere on the line, as users type it last.
    arguments = (["--debug"] if debug else []) + [a for a in arguments if a != "--debug"]
    with logs_kept_to_debug(debug):
        return _run(arguments, debug, as_json)


def _run(arguments: Sequence[str], debug: bool, as_json: bool) -> int:
    try:
        code = app(args=list(arguments), prog_name="gangline", standalone_mode=False)
        if code == INTERRUPTED:  # what the parser makes of Ctrl-C
            raise Interrupted
        return code if isinstance(code, int) else 0
    except (KeyboardInterrupt, typer.Abort, Interrupted) as interrupt:
        print_error(_as_interrupted(interrupt), as_json=as_json)
        return INTERRUPTED
    except typer.Exit as done:
        return done.exit_code
    except GanglineError as error:
        _trace(debug)
        print_error(error, as_json=as_json)
        return exit_code(error)
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except Exception as error:  # noqa: BLE001 (the last resort: every fault is reported)
        usage = _as_usage(error)
        if usage and not usage.detail:
            return 2  # a bare `gangline`: the parser showed the help and has nothing to add
        _trace(debug)
        print_error(usage or _as_internal(error), as_json=as_json)
        return 2 if usage else 1


def _trace(debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exc()


@contextmanager
def logs_kept_to_debug(debug: bool) -> Iterator[None]:
    """Keep logs (and tracebacks in them) to --debug: errors are told once, as errors.

    Everything is put back in the end: a command may run inside somebody's own program.
    """
    root = logging.getLogger("gangline")
    kept = root.handlers[:], root.level, root.propagate
    root.handlers[:] = [logging.StreamHandler() if debug else logging.NullHandler()]
    root.setLevel(logging.DEBUG if debug else logging.CRITICAL)
    root.propagate = False
    try:
        yield
    finally:
        root.handlers[:], root.propagate = kept[0], kept[2]
        root.setLevel(kept[1])


def _as_usage(error: Exception) -> UsageError | None:
    """Recognise the command-line parser's own errors (wrong option, missing argument)."""
    message = getattr(error, "format_message", None)
    if message is None:
        return None
    context = getattr(error, "ctx", None)
    command = getattr(context, "command_path", "gangline") if context else "gangline"
    return UsageError(str(message()), where=command, next_step=f"See `{command} --help`.")


def _as_interrupted(interrupt: BaseException) -> GanglineError:
    """Tell what the interrupted job's executor says, or that nothing more is known."""
    told: BaseException | None = interrupt
    while told is not None:
        if isinstance(told, GanglineError):
            return told
        told = told.__cause__
    return JobError("The command was interrupted", next_step="Run it again when you like.")


def _as_internal(error: Exception) -> GanglineError:
    return GanglineError(
        f"Something gangline did not expect: {type(error).__name__}: {error}",
        next_step="Run the same command with --debug to see where, and please report it.",
    )
