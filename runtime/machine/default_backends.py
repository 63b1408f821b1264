"""What is built when nobody says otherwise: a fleet of this CPU, and a backend per device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from gangline.backends.base import Backend
from gangline.ir.errors import BackendUnavailable
from gangline.ir.specs.fleet import Fleet, FleetDevice
from gangline.runtime.clock import Clock

if TYPE_CHECKING:
    from gangline.backends.base import ModelRunner, PromptEncoder


def default_fleet() -> Fleet:
    """Give the fleet used without a file: this machine's CPU at a stated price."""
    from gangline.planner import fleet_file

    from .probe import detect

    return fleet_file.default_fleet(detect())


def default_backends(fleet: Fleet, clock: Clock) -> dict[str, Backend]:
    """Build a backend for every device of a fleet that runs models; weights load on first use."""
    return {
        device_id: _backend(device, device_id, clock)
        for device in fleet.devices
        for device_id in device.ids
    }


def _backend(device: FleetDevice, device_id: str, clock: Clock) -> Backend:
    make = _MAKERS.get(device.backend)
    if make is None:
        raise BackendUnavailable(
            f"The backend {device.backend!r} is not part of this version",
            where=device.name,
            next_step=f"Use one of: {', '.join(_MAKERS)}.",
        )
    return make(device, device_id, clock)


def _engine(device: FleetDevice, device_id: str, clock: Clock) -> Backend:
    from gangline.backends.engine.backend import EngineBackend

    name = "cpu" if device.spec.kind == "cpu" else f"cuda:{device_id.rsplit('/', 1)[1]}"

    def load(model: str) -> ModelRunner:
        from gangline.backends.engine.runner import load_runner

        from . import models

        spec = models.find(model)
        return load_runner(models.verified_path(spec), spec, device=name)

    return EngineBackend(load, _encoder, clock=clock.now, serves=_is_here)


def _is_here(model: str) -> bool:
    from . import models

    spec = models.catalogue().get(model)
    return spec is not None and models.is_present(spec)


def _encoder(model: str) -> PromptEncoder:
    from gangline.backends.engine.encoder import load_encoder

    from . import models

    spec = models.find(model)
    return load_encoder(models.verified_path(spec), expected_sha256=spec.sha256)


_MAKERS: Mapping[str, Callable[[FleetDevice, str, Clock], Backend]] = {"engine": _engine}
