"""How one replica serves: which device, split over how many, in which format, at which load."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

ROLES = ("colocated", "prefill", "decode", "cpu")


@dataclass(frozen=True, slots=True)
class ServingConfig:
    """One way to run a replica.

    Attributes:
        device: catalogue name of the device type.
        role: `colocated` (prefill and decode), `prefill`, `decode` or `cpu` (tools and text).
        model: that it holds; empty for `cpu`.
        tp, pp: devices a layer is split over, and stages the layers are split into.
        batch: sequences in a decode step, or prompts computed together.
        utilisation: share of its capacity that is planned to be used; the rest is for bursts.
    """

    device: str
    role: str
    model: str = ""
    tp: int = 1
    pp: int = 1
    dtype: str = ""
    batch: int = 1
    utilisation: float = 0.85

    @property
    def size(self) -> int:
        """Devices of one replica."""
        return self.tp * self.pp

    @property
    def name(self) -> str:
        """Give it in one word, for a report."""
        split = f" tp{self.tp}" + (f" pp{self.pp}" if self.pp > 1 else "")
        return f"{self.device} {self.role}{split if self.model else ''}"

    @property
    def group(self) -> ServingConfig:
        """Everything but the load it runs at: replicas of one group are alike to buy."""
        return replace(self, batch=0, utilisation=0.0)

    def to_json(self) -> dict[str, Any]:
        """Give the configuration as plain JSON."""
        return {
            "device": self.device,
            "role": self.role,
            "model": self.model,
            "tp": self.tp,
            "pp": self.pp,
            "dtype": self.dtype,
        }
