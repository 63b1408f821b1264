"""One fleet with its engines, kept open for many jobs.

Engines keep their weights and prefix caches for as long as the session lives, so the second
question to the same database finds the schema already computed.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from gangline.backends.base import Backend
from gangline.ir.errors import InputError
from gangline.ir.program import Program
from gangline.ir.specs.event import LOCAL
from gangline.ir.specs.fleet import Fleet
from gangline.ir.specs.plan import Plan
from gangline.ir.specs.policy import Grant, Policy

from .clock import Clock, WallClock
from .dispatch.job import DEFAULT_PRIORITY, Job, JobResult
from .execution.executor import Executor
from .execution.surroundings import OnEvent, Publish
from .history import History
from .job_policy import allowed, checked
from .kept import Kept
from .machine.models import catalogue
from .machine.models import find as find_model
from .store import Store

if TYPE_CHECKING:
    from gangline.workflows.workflow import Workflow


PLANS_KEPT = 256
"""Most plans that are kept for the next job of their program."""


@dataclass(frozen=True, slots=True)
class Options:
    """What one call may set for its job (see `Job`); `source` is how the workflow was named.

    `policy` is the operator's, to which `grants` are added; None is the author's own.
    """

    deadline_s: float | None = None
    budget_usd: float | None = None
    model: str | None = None
    source: str = ""
    tenant: str = LOCAL
    priority: int = DEFAULT_PRIORITY
    on_deadline: str = "late"
    metadata: Mapping[str, str] = field(default_factory=dict)
    policy: Policy | None = None
    grants: tuple[Grant, ...] = ()


class Session:
    """Run workflows on one fleet. Use as a context manager, from any thread.

    Args:
        fleet: where stages may be placed; None makes no plan and uses the first backend.
        backends: by device id or name; None builds the default ones of the fleet.
        store: where jobs are kept; None opens the user's own.
        loop, publish: as for `Executor`: a server's loop, and who is told of events.
    """

    def __init__(
        self,
        fleet: Fleet | None = None,
        backends: Mapping[str, Backend] | None = None,
        store: Store | None = None,
        clock: Clock | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        publish: Publish | None = None,
    ) -> None:
        from gangline.workflows.databases import DATABASES
        from gangline.workflows.registry import TOOLS

        from .example_database import NAME, example_database
        from .machine.default_backends import default_backends, default_fleet

        DATABASES.provide(NAME, example_database)
        clock = clock or WallClock()
        if fleet is None and backends is None:
            fleet = default_fleet()
        own_backends = backends is None
        if backends is None:
            assert fleet is not None
            backends = default_backends(fleet, clock)
        self.fleet = fleet
        self.backends = backends
        self._plans: Kept[Plan] = Kept(PLANS_KEPT)
        self._programs: Kept[Program] = Kept(PLANS_KEPT)
        # Backends somebody brings (scripted ones, say) tell nothing about this fleet's devices.
        self.history = History() if own_backends else None
        self.device = next(iter(backends), "")
        self._owned_store = Store() if store is None else None
        self.store = self._owned_store or store
        self.executor = Executor(
            backends,
            TOOLS.get,
            fleet=fleet,
            store=self.store,
            clock=clock,
            loop=loop,
            publish=publish,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave running jobs in the store, and close engines and store."""
        self.executor.close()
        if self._owned_store is not None:
            self._owned_store.close()

    def run(
        self,
        workflow: Workflow[..., Any],
        inputs: Mapping[str, Any],
        options: Options | None = None,
        on_event: OnEvent | None = None,
    ) -> JobResult:
        """Run one job and wait; the result says how it went."""
        job = self.job(workflow, inputs, options or Options())
        self.prepare(job.program, job.plan)
        result = self.executor.run(job, on_event)
        if self.history is not None:
            self.history.learn(job.program, result, self.fleet, catalogue())
        return result

    def submit(
        self,
        workflow: Workflow[..., Any],
        inputs: Mapping[str, Any],
        options: Options | None = None,
        on_event: OnEvent | None = None,
    ) -> Future[JobResult]:
        """Start one job among others; the future gives its result."""
        job = self.job(workflow, inputs, options or Options())
        self.prepare(job.program, job.plan)
        return self.executor.submit(job, on_event)

    def prepare(self, program: Program, plan: Plan | None) -> None:
        """Begin to load a job's models, so that it overlaps with its first tools."""
        for stage in program.stages:
            if stage.op == "prefill":
                device = plan.stage(stage.name).device if plan else self.device
                for name, backend in self.backends.items():
                    if name.split("/", 1)[0] == device.split("/", 1)[0]:
                        backend.prepare(stage.attributes["model"])

    def job(self, workflow: Workflow[..., Any], inputs: Mapping[str, Any], options: Options) -> Job:
        """Compile, check and plan one job without running it.

        Raises:
            PolicyError: the workflow does what its policy refuses.
        """
        if options.model is not None:
            find_model(options.model)
        program = self._with_model(workflow.program(), options.model)
        policy = allowed(workflow.policy, options.policy).granting(options.grants)
        findings = checked(program, policy)
        deadline_s, budget_usd = limits(workflow, program, options.deadline_s, options.budget_usd)
        return Job(
            workflow=workflow.name,
            program=program,
            inputs=workflow.checked(inputs),
            plan=self.plan(program, deadline_s, budget_usd),
            deadline_s=_limit("deadline", deadline_s),
            budget_usd=_limit("budget_usd", budget_usd),
            device=self.device,
            source=options.source,
            tenant=options.tenant,
            priority=options.priority,
            on_deadline=options.on_deadline,
            metadata=options.metadata,
            policy=policy,
            findings=findings,
        )

    def plan(
        self, program: Program, deadline_s: float | None, budget_usd: float | None
    ) -> Plan | None:
        """Place a program on the fleet; a plan that misses the limits is still a plan.

        The same program with the same limits is planned again only once a job has taught
        something.
        """
        fleet = self.fleet
        if fleet is None:
            return None
        stamp = self.history.stamp(program) if self.history is not None else ()

        def make(program: Program) -> Plan:
            return self._propose(program, fleet, deadline_s, budget_usd)

        return self._plans.of(make, program, also=(deadline_s, budget_usd, stamp))

    def _with_model(self, program: Program, model: str | None) -> Program:
        return self._programs.of(lambda given: with_model(given, model), program, also=model)

    def _propose(
        self,
        program: Program,
        fleet: Fleet,
        deadline_s: float | None,
        budget_usd: float | None,
    ) -> Plan:
        from gangline.planner.proposal import propose

        from .profiles import profile_for

        known = self.history
        return propose(
            program,
            profile_for(program) if known is not None else None,
            fleet,
            catalogue(),
            deadline_s,
            budget_usd,
            split=False,
            strict=False,
            max_tp=1,
            calibration=known.calibration() if known is not None else None,
        )


def with_model(program: Program, model: str | None) -> Program:
    """Give the program with every llm stage on `model`; its hash changes with it."""
    if model is None:
        return program
    stages = tuple(
        replace(stage, attributes={**stage.attributes, "model": model})
        if "model" in stage.attributes
        else stage
        for stage in program.stages
    )
    return replace(program, stages=stages, text=f"// model = {model}\n{program.text}")


def limits(
    workflow: Workflow[..., Any],
    program: Program,
    deadline_s: float | None = None,
    budget_usd: float | None = None,
) -> tuple[float | None, float | None]:
    """Give deadline (seconds) and budget (US dollars) of a job: the caller's, or the author's."""
    return (
        _first(deadline_s, workflow.deadline_s, program.deadline_s),
        _first(budget_usd, workflow.budget_usd, program.budget_usd),
    )


def _limit(name: str, value: float | None) -> float | None:
    """Give a limit as it is; InputError if it is no amount."""
    if value is not None and not 0.0 <= value < math.inf:
        raise InputError(
            f"The {name} must be a number that is not negative, but {value} was given",
            where=name,
            next_step="Give an amount, or leave it out for no limit.",
        )
    return value


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)
