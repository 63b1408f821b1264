"""How an engine packs its steps."""

from __future__ import annotations

from dataclasses import dataclass

from gangline.ir.errors import ConfigError

from .policy import Fcfs, Policy, Urgency


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """Limits of one engine step, and the order of service.

    Attributes:
        max_batched_tokens: most tokens one step computes.
        max_num_seqs: most requests that hold blocks at once.
        chunk_tokens: most prompt tokens one step computes while some request decodes; bounds
            how long a prefill can stall a decode (the bound on the inter-token gap).
        policy: `urgency` or `fcfs`.
        prefill_s_per_token, decode_s_per_token, patience_s: see `policy.Urgency`.
    """

    max_batched_tokens: int = 512
    max_num_seqs: int = 32
    chunk_tokens: int = 256
    policy: str = "urgency"
    prefill_s_per_token: float = 0.002
    decode_s_per_token: float = 0.05
    patience_s: float = 60.0

    def __post_init__(self) -> None:
        if not 1 <= self.max_num_seqs <= self.max_batched_tokens:
            raise ConfigError(
                f"max_num_seqs is {self.max_num_seqs}, max_batched_tokens is "
                f"{self.max_batched_tokens}",
                where="SchedulerConfig",
                next_step="Every running request needs room for one token in each step.",
            )
        if self.chunk_tokens < 1:
            raise ConfigError("chunk_tokens is below 1", where="SchedulerConfig")
        self.make_policy()

    def make_policy(self) -> Policy:
        """Build the policy by its name; ConfigError for a name there is not."""
        match self.policy:
            case "fcfs":
                return Fcfs()
            case "urgency":
                return Urgency(self.prefill_s_per_token, self.decode_s_per_token, self.patience_s)
        raise ConfigError(
            f"There is no scheduling policy {self.policy!r}",
            where="SchedulerConfig",
            next_step="Choose urgency or fcfs.",
        )
