"""Which policy a job gets, and what is found against its program before it runs.

Three have a say: the author of the workflow (`@gl.workflow(policy=...)`), the operator (the
server's `--policy`, or whoever runs a job here), and on a server the caller, who may only narrow
what the other two allow.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gangline.ir.errors import ConfigError, PolicyError
from gangline.ir.policy import findings
from gangline.ir.program import Program
from gangline.ir.specs.finding import Finding, refused
from gangline.ir.specs.policy import Grant, Policy

from .dispatch.policing import documents
from .kept import Kept

MAX_POLICY_BYTES = 1 << 20
_KEPT = 256

_checked: Kept[tuple[Finding, ...]] = Kept(_KEPT)
"""What was found, by program and policy: jobs of one workflow share it."""


def load_policy(file: str | Path) -> Policy:
    """Read a policy file (TOML, see ir/specs/policy.py); ConfigError where it is none."""
    path, file = Path(file), str(file)
    try:
        with path.open("rb") as opened:
            data = opened.read(MAX_POLICY_BYTES + 1)
        if len(data) > MAX_POLICY_BYTES:
            raise ConfigError(
                f"The policy has more than {MAX_POLICY_BYTES} bytes",
                where=file,
                next_step="A policy is a few lines of TOML.",
            )
        return Policy.from_json(tomllib.loads(data.decode()), where=file)
    except OSError as error:
        raise ConfigError(
            f"The policy cannot be read: {error.strerror}",
            where=file,
            next_step="Check the path of --policy.",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(
            f"The policy is not TOML: {error}", where=file, next_step="See docs/policy.md."
        ) from None


def allowed(author: Policy | None, operator: Policy | None) -> Policy:
    """Give what author and operator allow together (see `Policy.trusting`)."""
    base = operator or Policy()
    return base if author is None else base.trusting(author)


def narrowed(
    base: Policy, policy: Policy | None, grants: Sequence[Grant] | None, where: str = "policy"
) -> Policy:
    """Give what a caller leaves of a policy; PolicyError where it asks for more.

    A caller who sends neither a policy nor grants takes all that is allowed.
    """
    if policy is None and grants is None:
        return base
    wanted = (policy or Policy(flows=base.flows)).granting(grants or ())
    if beyond := wanted.beyond(base):
        raise PolicyError(
            f"The request asks for more than is allowed here: {', '.join(beyond)}",
            where=where,
            next_step="Leave it out, or ask the operator of the server to allow it.",
        )
    return base.narrowed(wanted)


def verdict(program: Program, policy: Policy) -> dict[str, Any]:
    """Say what would become of a job: `allowed`, `asks` or `refused`, with what was found."""
    found = _found(program, policy)
    said = {"ask": "asks", "refuse": "refused"}[policy.on_violation] if found else "allowed"
    return {"verdict": said, "findings": documents(found)}


def checked(program: Program, policy: Policy) -> tuple[Finding, ...]:
    """Give what a person must decide on before a run; PolicyError where the policy refuses."""
    found = _found(program, policy)
    if found and policy.on_violation == "refuse":
        raise refused(documents(found), program.name)
    return found


def _found(program: Program, policy: Policy) -> tuple[Finding, ...]:
    return _checked.of(lambda given: findings(given, policy), program, also=policy)
