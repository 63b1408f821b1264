"""`gangline check`: what a workflow would do that a policy does not allow, without running it."""

from __future__ import annotations

from typing import Any

from .output import console, print_document
from .questions import shown
from .run_command import Grants, Json, PolicyFile, Workflow


def check(
    workflow: Workflow, policy: PolicyFile = None, grant: Grants = None, as_json: Json = False
) -> int:
    """Check what WORKFLOW would do against a policy, and name the paths; nothing is run.

    The exit code is 1 where something was found, even if the policy only asks about it.
    """
    from gangline.ir.policy import findings
    from gangline.runtime.job_policy import allowed, load_policy
    from gangline.workflows.registry import load

    from .arguments import read_grants

    loaded = load(workflow)
    base = allowed(loaded.policy, load_policy(policy) if policy else None)
    rules = base.granting(read_grants(grant or ()))
    found = [row.to_json() for row in findings(loaded.program(), rules)]
    if as_json:
        print_document({"workflow": loaded.name, "policy": rules.to_json(), "findings": found})
    else:
        _print(loaded.name, rules.on_violation, found)
    return 1 if found else 0


def _print(name: str, on_violation: str, found: list[dict[str, Any]]) -> None:
    out = console()
    for row in found:
        out.print(shown(f"{row['rule']}: {row['detail']}"), markup=False, style="bold")
        for hop in row["path"]:
            where = f"  ({hop['where']})" if hop["where"] else ""
            out.print(shown(f"  {hop['step']}{where}"), markup=False)
        out.print(shown(f"  {row['next_step']}"), markup=False, style="dim")
    then = {"ask": "A job asks before its first step.", "refuse": "A job is refused."}
    count = f"{len(found)} finding{'' if len(found) == 1 else 's'}"
    told = f"{name}: {count}. {then[on_violation]}" if found else f"{name}: nothing found"
    out.print(told, markup=False)
