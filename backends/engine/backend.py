"""A device that runs models with our own engine: one engine, one thread, per model."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from gangline.backends.base import Emit, Encode, EngineLoad, ModelRunner, PromptEncoder
from gangline.ir.errors import BackendError, GanglineError
from gangline.ir.specs.request import EngineMessage, RequestFailed, Shutdown, Submit

from .config import SchedulerConfig
from .core import as_gangline
from .engine import Engine

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Worker:
    """One model's inbox and the thread that empties it."""

    model: str
    thread: threading.Thread | None = None
    inbox: queue.SimpleQueue[EngineMessage] = field(default_factory=queue.SimpleQueue)
    loaded: Future[None] = field(default_factory=Future)
    engine: Engine | None = None


class EngineBackend:
    """Serves every model that `load` can load; each is loaded when first asked for.

    Args:
        load: makes the runner of a model; called on that model's own thread.
        encoder: makes what turns prompts into tokens, from the tokenizer alone, so that prompts
            can be encoded while weights load. A function of chat messages will do for
            workflows; other callers need a `PromptEncoder`.
        clock: seconds on the clock that deadlines are on.
        serves: says at once whether `load` can load a model.
    """

    def __init__(
        self,
        load: Callable[[str], ModelRunner],
        encoder: Callable[[str], Encode | PromptEncoder],
        config: SchedulerConfig | None = None,
        clock: Callable[[], float] = time.monotonic,
        serves: Callable[[str], bool] = lambda model: True,
    ) -> None:
        self._serves = serves
        self._load = load
        self._encoder = encoder
        self._config = config
        self._clock = clock
        self._emit: Emit | None = None
        self._lock = threading.Lock()  # guards _workers and _is_closed
        self._workers: dict[str, _Worker] = {}
        self._ended: dict[str, GanglineError] = {}
        self._is_closed = False
        self._encoder_lock = threading.Lock()  # a tokenizer is loaded once
        self._encoders: dict[str, Encode | PromptEncoder] = {}

    def start(self, emit: Emit) -> None:
        """Take the callback for events; it is called from the engines' threads."""
        self._emit = emit

    @property
    def alive(self) -> bool:
        """Say whether no engine has ended by a fault, or those that did have been loaded again.

        What is sent to a model whose engine ended loads it anew; what it was working on got
        `RequestFailed` with a BackendError, which may be tried again.
        """
        with self._lock:
            return not self._ended

    def send(self, message: EngineMessage) -> None:
        """Hand a message to the engine it is for; BackendError before start and after close."""
        with self._lock:
            if self._emit is None or self._is_closed:
                raise BackendError("The engine backend is not running")
            if isinstance(message, Submit):
                self._worker(message.model).inbox.put(message)
                return
            # Only a Submit names its model. An engine ignores what it does not know.
            for worker in self._workers.values():
                worker.inbox.put(message)

    def prepare(self, model: str) -> Future[None]:
        """Load a model before anything is asked of it; the future ends when it can serve."""
        with self._lock:
            if self._emit is None or self._is_closed:
                raise BackendError("The engine backend is not running")
            return self._worker(model).loaded

    def encoder(self, model: str) -> Encode:
        """Give what turns chat messages into prompt tokens; the first call loads it."""
        loaded = self._loaded_encoder(model)
        return loaded.encode if isinstance(loaded, PromptEncoder) else loaded

    def serves(self, model: str) -> bool:
        """Say whether the model can be loaded here."""
        return self._serves(model)

    def loads(self) -> list[EngineLoad]:
        """Give what the engines of the models loaded so far do now."""
        with self._lock:
            engines = [(worker.model, worker.engine) for worker in self._workers.values()]
        return [
            replace(engine.load, model=model) for model, engine in engines if engine is not None
        ]

    def prompts(self, model: str) -> PromptEncoder:
        """Give what turns any prompt into tokens; BackendError if only messages can be."""
        loaded = self._loaded_encoder(model)
        if isinstance(loaded, PromptEncoder):
            return loaded
        raise BackendError(f"This backend takes prompts of {model!r} from workflows only")

    def _loaded_encoder(self, model: str) -> Encode | PromptEncoder:
        with self._encoder_lock:
            if model not in self._encoders:
                self._encoders[model] = self._encoder(model)
            return self._encoders[model]

    def close(self) -> None:
        """Shut every engine down and wait for its thread; may be called twice.

        A model that is still loading is not waited for: what was queued for it is answered
        here, and its thread ends when the loader lets it.
        """
        with self._lock:
            self._is_closed = True
            workers = list(self._workers.values())
            loading = [worker for worker in workers if not worker.loaded.done()]
            unanswered = [message for worker in loading for message in _drain(worker.inbox)]
            for worker in workers:
                worker.inbox.put(Shutdown())
        # Not under the lock: the receiver may call back.
        self._answer(unanswered, BackendError("The engine was shut down"))
        for worker in workers:
            if worker in loading or worker.thread is None:
                continue
            if worker.thread is not threading.current_thread():
                worker.thread.join()

    def _worker(self, model: str) -> _Worker:
        worker = self._workers.get(model)
        if worker is None:
            worker = self._workers[model] = _Worker(model)
            name = f"engine-{model}"
            # Daemon: an interpreter that exits without close() must not wait for a model.
            worker.thread = threading.Thread(
                target=self._serve, args=(worker,), name=name, daemon=True
            )
            worker.thread.start()
        return worker

    def _serve(self, worker: _Worker) -> None:
        """Load the model and run its engine until shutdown: the body of its thread."""
        try:
            runner = self._load(worker.model)
            engine = Engine(runner, self._clock, self._deliver(), self._config, worker.inbox)
            worker.engine = engine
            with self._lock:
                worker.loaded.set_result(None)
                self._ended.pop(worker.model, None)
            engine.run()
        except BaseException as error:
            if not self._is_closed:  # else nobody waits for it, and the interpreter may end
                logger.exception("the engine of model %s ended", worker.model)
            self._retire(worker, as_gangline(error))

    def _deliver(self) -> Emit:
        assert self._emit is not None  # send() starts no thread before start()
        return self._emit

    def _retire(self, worker: _Worker, error: GanglineError) -> None:
        """Give a model up: answer what is queued; the next Submit tries to load again."""
        with self._lock:
            # From here on nothing more is put into this inbox.
            if self._workers.get(worker.model) is worker:
                del self._workers[worker.model]
            if worker.loaded.done() and not self._is_closed:
                self._ended[worker.model] = error
        if not worker.loaded.done():
            worker.loaded.set_exception(error)
        self._answer(_drain(worker.inbox), error)

    def _answer(self, messages: Iterable[EngineMessage], error: GanglineError) -> None:
        for message in messages:
            if isinstance(message, Submit):
                event = RequestFailed(message.request_id, self._clock(), error.to_json())
                self._deliver()(event)


def _drain(inbox: queue.SimpleQueue[EngineMessage]) -> list[EngineMessage]:
    messages = []
    while not inbox.empty():
        messages.append(inbox.get())
    return messages
