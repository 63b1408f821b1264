"""Profile files and traces of calls: text to a checked `Profile`, and a profile back to text.

Read are our own profile files (docs/schemas/profile.json), and traces of other people's runs: a
JSON list of requests that each list their calls in order, and CSV or JSON lines with a call a
row. The text is untrusted: what is wrong with it is said with the file and the line.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gangline.ir.errors import ConfigError, GanglineError
from gangline.ir.program import Program, Region, Stage

from .profile import ENGINE_OPS, MAX_SAMPLES, Amount, Profile, Sample, StageProfile

VERSION = 1
MAX_FILE_BYTES = 200_000_000
MAX_TOKENS = 10_000_000

PROMPT_NAMES = ("prompt_tokens", "ContextTokens", "num_prefill_tokens", "input_length")
OUTPUT_NAMES = ("output_tokens", "GeneratedTokens", "num_decode_tokens", "output_length")
"""What public traces call the tokens of a call: Azure's, Vidur's, and lists of workflow steps."""

CALL = "call"
"""The one stage of a trace whose rows have no names."""


def parse_profile(text: str, file: str = "") -> Profile:
    """Read a profile or a trace; ConfigError says where it is wrong."""
    if len(text) > MAX_FILE_BYTES:
        raise ConfigError("The profile is too large", where=file)
    stripped = text.lstrip("\ufeff \t\r\n")
    try:
        if not stripped.startswith(("{", "[")):
            return from_rows(_csv_rows(stripped, file), file)
        first = stripped.splitlines()[0].strip()
        if first.startswith("{") and first.endswith("}") and "\n" in stripped.rstrip():
            return from_rows(_json_lines(stripped, file), file)
        document = json.loads(stripped)
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"The profile cannot be read: {error}",
            where=file,
            next_step="Give a profile file, a JSON list of requests, or CSV with a header.",
        ) from None
    return (
        from_requests(document, file)
        if isinstance(document, list)
        else from_document(document, file)
    )


def from_document(document: Any, file: str = "") -> Profile:
    """Read the document of a profile file."""
    if not isinstance(document, Mapping) or document.get("version") != VERSION:
        raise ConfigError(
            f"The profile is not of version {VERSION}",
            where=file,
            next_step=f'A profile file has "version": {VERSION} and "stages".',
        )
    try:
        profile = Profile.from_json(document)
        for name, row in profile.stages.items():
            _check(name, row, file)
    except GanglineError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"The profile is damaged: {type(error).__name__}: {error}",
            where=file,
            next_step="docs/schemas/profile.json says what a profile file holds.",
        ) from None
    return profile


def _check(name: str, row: StageProfile, file: str) -> None:
    amounts = [row.prompt_tokens, row.cached_tokens, row.output_tokens]
    amounts += [row.seconds] if row.seconds is not None else []
    values = [row.visits, *(value for a in amounts for value in (a.mean, a.low, a.high))]
    values += [
        value for s in row.samples for value in (s.seconds, s.prompt_tokens, s.output_tokens)
    ]
    if not all(isinstance(value, int | float) and 0 <= value < math.inf for value in values):
        raise ConfigError(
            f"Stage {name!r} has a figure that is negative or no number",
            where=file,
            next_step="Visits, tokens and seconds are numbers of 0 or more.",
        )


def to_document(profile: Profile, workflow: str, note: str) -> dict[str, Any]:
    """Give the document of a profile file; `note` says what was run, on what."""
    return {"version": VERSION, "workflow": workflow, "note": note, **profile.to_json()}


def portable(profile: Profile) -> Profile:
    """Give a profile for other machines: no device, and no seconds of what devices compute."""
    stages = {name: _portable(row) for name, row in profile.stages.items()}
    return replace(profile, stages=stages)


def _portable(row: StageProfile) -> StageProfile:
    computed = row.op in ENGINE_OPS
    samples = tuple(
        replace(sample, device="", seconds=0.0 if computed else round(sample.seconds, 6))
        for sample in row.samples
    )
    return replace(row, samples=samples, source="measured" if row.samples else row.source)


def from_requests(requests: Sequence[Any], file: str = "") -> Profile:
    """Read a list of requests, each a list of calls (or an object with one such list)."""
    calls: dict[str, list[tuple[float, float]]] = {}
    for number, request in enumerate(requests, start=1):
        place = f"{file}, request {number}"
        for call in _calls(request, place):
            row = _tokens(call, place)
            calls.setdefault(str(call.get("step", CALL)), []).append(row)
    return _profile(calls, len(requests), file)


def _calls(request: Any, where: str) -> list[Mapping[str, Any]]:
    found = request
    if isinstance(request, Mapping):
        found = next((value for value in request.values() if isinstance(value, list)), None)
    if not isinstance(found, list) or not all(isinstance(call, Mapping) for call in found):
        raise ConfigError(
            "A request must list its calls", where=where, next_step="Give [{step, ...}, ...]."
        )
    return found


def from_rows(rows: Iterable[tuple[str, Mapping[str, Any]]], file: str = "") -> Profile:
    """Read (place, row) pairs of single calls: every row is a job of one call."""
    calls = [_tokens(row, where) for where, row in rows]
    return _profile({CALL: calls} if calls else {}, len(calls), file)


def _csv_rows(text: str, file: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text))
    for row in reader:
        yield f"{file}:{reader.line_num}", row


def _json_lines(text: str, file: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            row = json.loads(line)
            if not isinstance(row, Mapping):
                raise ConfigError("A line must hold an object", where=f"{file}:{number}")
            yield f"{file}:{number}", row


def _tokens(row: Mapping[str, Any], where: str) -> tuple[float, float]:
    return _number(row, PROMPT_NAMES, where), _number(row, OUTPUT_NAMES, where)


def _number(row: Mapping[str, Any], names: Sequence[str], where: str) -> float:
    name = next((name for name in names if row.get(name) is not None), None)
    if name is None:
        raise ConfigError(
            f"The trace has no column {names[0]!r}",
            where=where,
            next_step=f"Name it one of: {', '.join(names)}.",
        )
    try:
        value = float(row[name])
    except (TypeError, ValueError):
        value = math.nan
    if not 0.0 <= value <= MAX_TOKENS:
        raise ConfigError(
            f"{name} is {row[name]!r}, no number of tokens",
            where=where,
            next_step="Mend or drop that row.",
        )
    return value


def _profile(calls: Mapping[str, list[tuple[float, float]]], num_jobs: int, file: str) -> Profile:
    if not calls or num_jobs < 1:
        raise ConfigError(
            "The trace has no calls", where=file, next_step="Give one with a call at least."
        )
    stages: dict[str, StageProfile] = {}
    for name, rows in calls.items():
        work = _stage(rows, len(rows) / num_jobs)
        stages[f"{name}.prefill"] = replace(work, op="prefill", output_tokens=Amount.exactly(0.0))
        stages[f"{name}.decode"] = work
    return Profile(stages, num_jobs=num_jobs)


def _stage(rows: list[tuple[float, float]], visits: float) -> StageProfile:
    prompts, outputs = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    # Evenly spaced among the sorted prompts: long prompts keep their share, and their outputs.
    order = np.lexsort((outputs, prompts))
    count = min(len(rows), MAX_SAMPLES)
    kept = order[((np.arange(count) + 0.5) * len(rows) / count).astype(int)]
    samples = tuple(Sample("", 0.0, float(prompts[at]), 0.0, float(outputs[at])) for at in kept)
    return StageProfile(
        op="decode",
        visits=visits,
        prompt_tokens=_amount(prompts),
        output_tokens=_amount(outputs),
        source="measured",
        samples=samples,
    )


def _amount(values: Any) -> Amount:
    mean = float(values.mean())
    low, high = (float(bound) for bound in np.quantile(values, (0.05, 0.95)))
    return Amount(mean, min(low, mean), max(high, mean))


def program_of(profile: Profile, model: str, name: str = "profile") -> tuple[Program, Profile]:
    """Make a program whose stages run one after the other, for a profile without a workflow.

    A stage that jobs visit more or less often than once becomes a loop; the profile that is
    given back has its expected trips. Without the workflow nothing is known to run side by
    side, so a job takes no longer than this says.
    """
    writer = _Chain(model)
    for stage, row in profile.stages.items():
        if row.op in ("decode", "tool"):
            writer.add(stage, row)
    regions = (Region((), tuple(writer.body), ()), *writer.regions)
    program = Program(name, (), regions, tuple(writer.stages), text=f"// {name} {model}")
    known = {stage.name for stage in writer.stages}
    stages = {stage: row for stage, row in profile.stages.items() if stage in known}
    return program, replace(profile, stages=stages, factors=writer.factors)


class _Chain:
    """Writes stages, each reading the one before."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.stages: list[Stage] = []
        self.body: list[int] = []
        self.regions: list[Region] = []
        self.factors: dict[str, float] = {}
        self._last: tuple[int, ...] = ()
        self._values = 0

    def add(self, stage: str, row: StageProfile) -> None:
        base = stage.removesuffix(".decode")
        if abs(row.visits - 1.0) < 1e-6:
            self.body += self._visit(base, row.op)
            return
        before = self._last
        inner = self._visit(base, row.op)
        until, once = len(self.regions) + 1, len(self.regions) + 2
        argument = self._value()
        self.regions.append(Region((argument,), (), (argument,)))
        self.regions.append(Region((self._value(),), tuple(inner), self._last))
        name, most = f"{base}.visits", max(1, math.ceil(4.0 * row.visits))
        self.factors[name] = row.visits
        # A loop needs a value to begin with; the first one of a chain starts from a constant.
        start = before or self._constant()
        self.body.append(self._stage("loop", name, start, (until, once), max_trips=most))

    def _constant(self) -> tuple[int, ...]:
        self.body.append(self._stage("constant", f"start{len(self.stages)}", (), value=None))
        return self._last

    def _visit(self, base: str, op: str) -> list[int]:
        if op == "tool":
            return [self._stage("tool", base, self._last, tool=base, effects="read")]
        parts = []
        for part in ("tokenize", "prefill", "decode"):
            name = f"{base}.{part}"
            parts.append(self._stage(part, name, self._last, model=self.model, template=[]))
        return parts

    def _stage(
        self,
        op: str,
        name: str,
        operands: tuple[int, ...],
        regions: tuple[int, ...] = (),
        **attributes: Any,
    ) -> int:
        number = len(self.stages)
        self._last = (self._value(),)
        self.stages.append(Stage(number, op, name, operands, self._last, attributes, regions))
        return number

    def _value(self) -> int:
        self._values += 1
        return self._values
