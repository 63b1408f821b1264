"""What a step costs: seconds of a device times its price, or tokens times theirs."""

from __future__ import annotations

from gangline.ir.specs.fleet import SECONDS_PER_HOUR, Fleet, FleetDevice

TOKENS_PER_MTOK = 1e6


class Pricing:
    """Prices of a fleet. A device the fleet does not know costs nothing."""

    def __init__(self, fleet: Fleet | None) -> None:
        self._devices = {device.name: device for device in fleet.devices} if fleet else {}

    def busy_usd(self, device: str, busy_s: float) -> float:
        """Price the seconds a whole device worked, in US dollars."""
        row = self._row(device)
        return busy_s * row.usd_per_hour / SECONDS_PER_HOUR if row else 0.0

    def core_usd(self, device: str, elapsed_s: float) -> float:
        """Price a tool call, which takes one of the device's cores."""
        row = self._row(device)
        return self.busy_usd(device, elapsed_s) / max(row.spec.cores, 1) if row else 0.0

    def prompt_usd(self, device: str, num_tokens: int) -> float:
        """Price prompt tokens of a device that sells by the token."""
        row = self._row(device)
        return num_tokens * row.usd_per_mtok_in / TOKENS_PER_MTOK if row else 0.0

    def output_usd(self, device: str, num_tokens: int) -> float:
        """Price generated tokens of a device that sells by the token."""
        row = self._row(device)
        return num_tokens * row.usd_per_mtok_out / TOKENS_PER_MTOK if row else 0.0

    def _row(self, device: str) -> FleetDevice | None:
        if not self._devices:
            return None
        return self._devices.get(device.partition("/")[0])
