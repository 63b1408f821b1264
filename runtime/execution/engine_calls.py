"""The engine requests one job waits for: sent once their model is loaded, cancelled, hurried."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from gangline.backends.base import Backend
from gangline.ir.errors import BackendError, GanglineError, JobCancelled
from gangline.ir.specs.request import Cancel, UpdateDeadline
from gangline.runtime.dispatch.commands import CancelRequest, Request
from gangline.runtime.dispatch.engine_message import submit_message

from .surroundings import InFlight, Surroundings

Failed = Callable[[Request, BaseException, bool], None]
"""Takes a request, why it failed, and whether it may be tried again."""


class EngineCalls:
    """Send requests on behalf of one job. Lives on the loop.

    Args:
        flight: makes the record of a request that is sent now to a device.
        cache_salt: separates this job's tenant from others in prefix caches.
        priority: of this job among the requests of an engine (lower is sooner).
        failed: called on the loop for a request that no engine will answer.
    """

    def __init__(
        self,
        around: Surroundings,
        flight: Callable[[Request, str, float], InFlight],
        failed: Failed,
        cache_salt: Callable[[], str],
        priority: Callable[[], int],
    ) -> None:
        self._around = around
        self._flight = flight
        self._failed = failed
        self._cache_salt = cache_salt
        self._priority = priority
        self._loading: dict[str, Request] = {}
        self._mine: dict[str, InFlight] = {}

    @property
    def is_idle(self) -> bool:
        """Say whether no request is under way."""
        return not self._mine and not self._loading

    def submit(self, command: Request, device: str) -> None:
        """Send a request to the engine of a device, once that has loaded the model."""
        backend, now = self._around.backend(device), self._around.clock.now()
        if backend is None:
            self._failed(command, no_backend(device), False)
            return
        try:
            if not self._is_loaded(backend, command, device):
                return
            backend.send(submit_message(command, now, self._cache_salt(), self._priority()))
        except Exception as error:  # noqa: BLE001 (a backend's fault is its request's failure)
            self._failed(command, error, True)
            return
        # Events come through the loop, so none can arrive before this.
        flight = self._flight(command, device, now)
        self._around.requests[command.request_id] = self._mine[command.request_id] = flight
        self._around.routing.begin(device)

    def ended(self, request_id: str) -> None:
        """Forget a request that an engine has ended."""
        self._mine.pop(request_id, None)

    def cancel(self, command: CancelRequest) -> None:
        """Tell the engine that nobody waits any more; one that never got there fails here."""
        waiting = self._loading.pop(command.request_id, None)
        if waiting is not None:
            error = JobCancelled("The request was cancelled before the model was loaded")
            self._failed(waiting, error, False)
            return
        flight = self._mine.get(command.request_id)
        backend = self._around.backend(flight.device) if flight else None
        if backend is not None:
            backend.send(Cancel(command.request_id))

    def hurry(self, deadline_s: float) -> None:
        """Tell engines that the job's absolute deadline has changed."""
        for request_id, flight in self._mine.items():
            backend = self._around.backend(flight.device)
            if backend is not None:
                backend.send(UpdateDeadline(request_id, deadline_s, flight.command.remaining_s))

    def stop(self) -> None:
        """Cancel what is in flight."""
        self._loading.clear()
        for flight in list(self._mine.values()):
            self.cancel(CancelRequest(flight.command.request_id, flight.command.step.id))

    def _is_loaded(self, backend: Backend, command: Request, device: str) -> bool:
        """Say whether the model is there; if not, the request is submitted again after."""
        loaded = backend.prepare(command.model)
        if loaded.done():
            loaded.result()
            return True
        # Loading is the machine's time, not the request's: it is submitted after.
        self._loading[command.request_id] = command
        again = partial(self._around.mailbox.post, self._loaded, command, device)
        loaded.add_done_callback(lambda _: again())
        return False

    def _loaded(self, command: Request, device: str) -> None:
        if self._loading.pop(command.request_id, None) is not None:
            self.submit(command, device)


def no_backend(device: str) -> GanglineError:
    """Say that nothing drives a device."""
    return BackendError(
        f"No backend drives the device {device!r}",
        next_step="Name a device of the fleet that has a backend, or retry with the --fleet of then.",
    )
