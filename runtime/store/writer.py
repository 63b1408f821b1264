"""The writer thread: it commits whatever queued while the commit before was under way.

That is group commit without a timer: many jobs share one sync of the disk, and a job that is
alone waits for one.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence

from gangline.ir.errors import StoreError

from .batch import Outcome, run_alone, run_together
from .database import Database, Unexpected
from .operations import Append, Create, Operation, Task
from .ticket import Call
from .usage import Spending

MAX_BATCH = 512
"""Most operations in one transaction; bounds how long a commit can take."""

MAX_EVENTS = 8192
"""Most events in one transaction (one operation may have more)."""

logger = logging.getLogger(__name__)


class Writer:
    """Own the writing side of a database."""

    def __init__(self, database: Database, deliver: Callable[[Sequence[Call]], object]) -> None:
        self.commits = 0
        self.failing: StoreError | None = None
        self._database = database
        self._doubts: tuple[type[BaseException], ...] = (Unexpected, *database.conflicts)
        self._deliver = deliver
        self._spending = Spending()
        self._queue: queue.SimpleQueue[Operation | None] = queue.SimpleQueue()
        self._num_open = 0
        self._closed = False
        self._closing = threading.Lock()
        self._writing = threading.Lock()  # held from taking operations to having answered them
        self._thread = threading.Thread(target=self._work, name="gangline-store", daemon=True)
        self._thread.start()

    @property
    def depth(self) -> int:
        """Give how many operations wait."""
        return self._queue.qsize()

    @property
    def alive(self) -> bool:
        """Say whether operations are still carried out."""
        return self._thread.is_alive() and not self._closed

    def put(self, *operations: Operation) -> None:
        """Queue operations in order; StoreError once closed."""
        # Under a lock: nothing may queue behind the end, where nobody would ever answer it.
        with self._closing:
            if self._closed:
                raise StoreError("The job store is closed", next_step="Open it again.")
            self._num_open += len(operations)
            for operation in operations:
                self._queue.put(operation)

    def put_here(self, operation: Operation) -> None:
        """Carry an operation out on this thread, if nothing else is queued or being written.

        For a thread that has nothing to do but wait for it: two changes of threads are saved.
        Otherwise the operation is queued as by `put`.
        """
        # Invariant: what was put before is answered before, also what the thread has just taken.
        if self._num_open or not self._writing.acquire(blocking=False):
            self.put(operation)
            return
        try:
            if self._closed:
                raise StoreError("The job store is closed", next_step="Open it again.")
            self._settle(self._commit([operation]))
        finally:
            self._writing.release()

    def close(self) -> None:
        """Write what is queued and end; a second call does nothing."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        if self._thread is not threading.current_thread():
            self._thread.join()
            with self._writing:
                """Whoever writes on a thread of their own is done now."""

    def _work(self) -> None:
        # Invariant: a ticket is done only after the transaction holding its operation ended.
        while (first := self._queue.get()) is not None:
            with self._writing:
                batch, last = self._gather(first)
                try:
                    self._settle(self._commit(batch))
                except Exception:
                    logger.exception("a callback of the store failed")
                with self._closing:
                    self._num_open -= len(batch)
            if last:
                break
        if not self._spending.is_empty:
            self._spending.hurry()
            self._settle(self._commit([Task(lambda _: None)]))

    def _gather(self, first: Operation) -> tuple[list[Operation], bool]:
        batch, num_events = [first], _num_events(first)
        while len(batch) < MAX_BATCH and num_events < MAX_EVENTS:
            try:
                operation = self._queue.get_nowait()
            except queue.Empty:
                break
            if operation is None:
                return batch, True
            batch.append(operation)
            num_events += _num_events(operation)
        return batch, False

    def _commit(self, batch: list[Operation]) -> list[Outcome]:
        num_tries = 0
        while True:
            num_tries += 1
            try:
                return self._try(batch)
            except self._database.errors as error:
                # Nothing of the batch is stored, so all of it can be done again.
                if self._database.again(error, num_tries):
                    continue
                self.failing = self._database.refusal(error)
                return [(operation, None, self.failing) for operation in batch]
            except Exception as error:
                # A fault of ours: every caller hears of it, and the thread lives on.
                logger.exception("the store's writer failed")
                return [(operation, None, error) for operation in batch]

    def _try(self, batch: list[Operation]) -> list[Outcome]:
        try:
            return self._transaction(lambda: run_together(self._database, batch, self._spending))
        except self._doubts:
            return self._transaction(
                lambda: [run_alone(self._database, operation) for operation in batch]
            )

    def _transaction(self, work: Callable[[], list[Outcome]]) -> list[Outcome]:
        self._database.begin()
        try:
            outcomes = work()
            self._database.commit()
        except BaseException:
            self._database.rollback()
            self._spending.settle(False, 0.0)
            raise
        self._spending.settle(True, time.monotonic())
        self.commits += 1
        self.failing = None
        return outcomes

    def _settle(self, outcomes: list[Outcome]) -> None:
        calls: list[Call] = []
        for operation, value, problem in outcomes:
            calls.extend(operation.ticket.settle(value, problem))
            if isinstance(operation, Create) and operation.then is not None:
                calls.extend(operation.then())
        if calls:
            self._deliver(calls)


def _num_events(operation: Operation) -> int:
    return len(operation.rows) if isinstance(operation, Append) else 1
