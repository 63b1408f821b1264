"""A fleet: named groups of devices, their prices, and the links between them."""

from __future__ import annotations

from dataclasses import dataclass

from .device import DeviceSpec

SECONDS_PER_HOUR = 3600.0
"""Prices are by the hour, rates and times by the second."""


@dataclass(frozen=True, slots=True)
class FleetDevice:
    """`count` devices of one type under one name; a device id is `name/index`."""

    name: str
    spec: DeviceSpec
    count: int = 1
    backend: str = "engine"
    usd_per_hour: float = 0.0
    usd_per_mtok_in: float = 0.0
    usd_per_mtok_out: float = 0.0
    url: str = ""
    api_key_env: str = ""

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the single devices: `name/0`, `name/1`, ..."""
        return tuple(f"{self.name}/{index}" for index in range(self.count))


@dataclass(frozen=True, slots=True)
class Link:
    """A directed connection between two device groups, by name."""

    source: str
    target: str
    bytes_per_s: float
    latency_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything a plan may place stages on."""

    name: str
    devices: tuple[FleetDevice, ...]
    links: tuple[Link, ...] = ()

    def device(self, id_or_name: str) -> FleetDevice:
        """Find a device group by its name or by one of its ids; KeyError if absent."""
        name = id_or_name.split("/", 1)[0]
        for device in self.devices:
            if device.name == name:
                return device
        raise KeyError(id_or_name)

    def link(self, source: str, target: str) -> Link | None:
        """Find the link between two device names in that direction, if there is one."""
        for link in self.links:
            if (link.source, link.target) == (source, target):
                return link
        return None
