"""A fleet as a plan uses it, in virtual time: its replicas, their step times, cores and prices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from gangline.ir.program import Program
from gangline.ir.specs.fleet import Fleet, FleetDevice
from gangline.ir.specs.model import ModelSpec
from gangline.ir.specs.plan import Plan, StagePlan
from gangline.planner.calibration import Calibration
from gangline.planner.engine_times import MEMORY_SHARE, EngineTimes
from gangline.planner.load import HOST_OPS
from gangline.planner.profile import ENGINE_OPS, Profile, Sample, StageProfile
from gangline.planner.situation import HOST_HOP_S
from gangline.planner.stage_cost import Option, StageCosts
from gangline.planner.workload import complete
from gangline.runtime.dispatch.commands import Encode

from .drawn_program import drawn_s
from .simulator import Simulator, VirtualDevice
from .virtual_replica import IMPORT_TOKENS, MixedTime, VirtualModel, VirtualReplica


class PlannedFleet:
    """What a plan makes of a fleet.

    Engines of different models on one device do not slow each other down here; a plan that puts
    two busy models on one device is judged too kindly.
    """

    def __init__(
        self,
        program: Program,
        profile: Profile | None,
        plan: Plan,
        fleet: Fleet,
        models: Mapping[str, ModelSpec],
        calibration: Calibration | None = None,
    ) -> None:
        self._fleet = fleet
        self._costs = StageCosts(models, calibration or Calibration())
        self._profile = complete(program, profile)
        self._rows = list(plan.stages)
        self._model_of = {
            stage.name: str(stage.attributes["model"])
            for stage in program.walk()
            if stage.op in ENGINE_OPS
        }
        self._tp = self._widths()

    def _widths(self) -> dict[str, int]:
        """Devices per replica, by device group: the widest any of its models asks for."""
        found: dict[str, int] = {}
        for row in self._rows:
            found[row.device] = max(found.get(row.device, 1), row.tp * row.pp)
        return found

    def _option(self, device: str) -> Option:
        return Option(self._fleet.device(device), self._tp[device])

    def simulator(self) -> Simulator:
        """Build a simulator of the plan's devices."""
        models = self._served()
        backends: dict[str, VirtualDevice] = {}
        for name, served in models.items():
            replicas = self._option(name).replicas
            for index in range(replicas):
                backends[f"{name}/{index}"] = VirtualReplica(served)
        return Simulator(
            backends,
            drawn_s,
            encode_time=self._encode_s,
            fleet=self._priced(),
            tool_slots=self._slots(models),
        )

    def _served(self) -> dict[str, dict[str, VirtualModel]]:
        """The models each device group serves."""
        names: dict[str, set[str]] = defaultdict(set)
        for row in self._rows:
            if row.stage in self._model_of:
                names[row.device].add(self._model_of[row.stage])
        return {
            device: {model: self._virtual(device, model, sorted(models)) for model in models}
            for device, models in names.items()
        }

    def _virtual(self, device: str, model: str, models: list[str]) -> VirtualModel:
        option = self._option(device)
        if option.device.spec.kind == "api":
            return _endpoint(option.device)
        every = [self._costs.times(option, name) for name in models]
        times = self._costs.times(option, model)
        left = MEMORY_SHARE * times.memory_bytes - sum(other.weight_bytes for other in every)
        imports = self._imports(device, model)
        return VirtualModel(
            mixed_s=self._mixed(option, model, times),
            kv_tokens=left / len(models) / max(times.kv_bytes_per_token, 1e-9),
            max_batch=times.max_batch,
            max_step_tokens=IMPORT_TOKENS if imports else times.max_step_tokens,
            imports=imports,
        )

    def _stages(self, device: str, model: str, op: str) -> list[StagePlan]:
        return [
            row
            for row in self._rows
            if row.op == op and row.device == device and self._model_of.get(row.stage) == model
        ]

    def _imports(self, device: str, model: str) -> bool:
        """Say whether prompts of a model reach this device with their KV cache made elsewhere."""
        decodes = self._stages(device, model, "decode")
        return bool(decodes) and not self._stages(device, model, "prefill")

    def _mixed(self, option: Option, model: str, times: EngineTimes) -> MixedTime:
        """Correct the parts of a step by what was measured of prompts and of decoding."""
        prompt = self._factor(option, model, "prefill", 1.0)
        decode: dict[int, float] = {}

        def mixed_s(new: float, past: float, batch: float, context: float) -> float:
            if batch <= 0.0:
                return prompt * float(times.mixed_s(new, past, 0.0, 0.0)) if new > 0.0 else 0.0
            size = max(1, round(batch)).bit_length()
            if size not in decode:
                decode[size] = self._factor(option, model, "decode", batch)
            alone = float(times.step_s(context, batch))
            if new <= 0.0:
                return decode[size] * alone
            more = max(float(times.mixed_s(new, past, batch, context)) - alone, 0.0)
            return decode[size] * alone + prompt * more

        return mixed_s

    def _factor(self, option: Option, model: str, op: str, batch: float) -> float:
        """Give the measured correction at the shape this model's stages have on average."""
        shape = self._shape(model, op)
        found = self._costs.calibration.correction(self._costs.key(option, op, model, shape, batch))
        return found.factor if found else 1.0

    def _shape(self, model: str, op: str) -> Sample:
        ops = (op, "embed") if op == "prefill" else (op,)
        rows = [
            self._profile.stages[stage]
            for stage, name in self._model_of.items()
            if name == model and self._profile.stages[stage].op in ops
        ]
        return Sample("", 0.0, *(_mean(rows, part) for part in _TOKENS))

    def _encode_s(self, command: Encode) -> float:
        spec = self._fleet.device(command.serving_device).spec
        return drawn_s(command) + (
            spec.efficiency.get("ttft_s", 0.5) if spec.kind == "api" else 0.0
        )

    def _slots(self, served: Mapping[str, object]) -> dict[str, int]:
        """Tools at once: on every replica of a group that serves models, else on the group."""
        found: dict[str, int] = {}
        for name in {row.device for row in self._rows if row.op in HOST_OPS}:
            option = self._option(name)
            cores = max(option.device.spec.cores, 1)
            if name not in served:
                found[name] = option.device.count * cores
                continue
            for index in range(option.replicas):
                found[f"{name}/{index}"] = cores * option.tp
        return found

    def _priced(self) -> Fleet:
        """The fleet with a replica's price in place of a device's."""
        devices = tuple(
            replace(device, usd_per_hour=device.usd_per_hour * self._tp.get(device.name, 1))
            for device in self._fleet.devices
        )
        return replace(self._fleet, devices=devices)

    def usd_per_hour(self) -> float:
        """Price of the device groups the plan uses, all their devices."""
        used = {row.device for row in self._rows}
        return sum(d.count * d.usd_per_hour for d in self._fleet.devices if d.name in used)

    def ship_s(self, prefill: StagePlan, decode: StagePlan, tokens: int, model: str) -> float:
        """Seconds to send a prompt's KV cache from one device group to another."""
        link = self._fleet.link(prefill.device, decode.device)
        if link is None:
            return HOST_HOP_S
        moved = tokens * self._costs.model(model).kv_bytes_per_token()
        return link.latency_s + moved / link.bytes_per_s

    def share(self, device: str, busy: float) -> float:
        """Give the busy share of a group whose engines (or cores, without any) so many keep busy."""
        option = self._option(device)
        if device in self._served_groups():
            return busy / option.replicas
        return busy / (option.device.count * max(option.device.spec.cores, 1))

    def _served_groups(self) -> set[str]:
        return {row.device for row in self._rows if row.stage in self._model_of}


_TOKENS = ("prompt_tokens", "cached_tokens", "output_tokens")


def _mean(rows: list[StageProfile], part: str) -> float:
    total = sum(row.visits for row in rows) or 1.0
    return sum(row.visits * float(getattr(row, part).mean) for row in rows) / total


def _endpoint(device: FleetDevice) -> VirtualModel:
    """A remote endpoint: as many at once as come, none slower for the others."""
    seconds = device.spec.efficiency.get("tpot_s", 0.02)
    return VirtualModel(lambda *shape: seconds, float(1 << 21), 256, IMPORT_TOKENS)
