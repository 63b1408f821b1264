"""Every limit of the service that somebody may want to turn, in one place."""

from __future__ import annotations

from dataclasses import dataclass, field

from gangline.ir.specs.policy import Policy


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits of one server. Times are seconds, sizes bytes.

    Attributes:
        max_running: jobs that run at once in this process.
        busy_accepting, busy_running: while as many submits are being stored at once, no job is
            started beyond as many that run.
        queue_in_memory: jobs this process keeps waiting for a slot; further ones wait in the
            store, where any server may claim them.
        queue_per_tenant: the same, of one tenant.
        queue_floor: jobs a tenant may always have in memory, however full it is, so that nobody
            is kept out by others.
        max_queued: jobs that may wait in the store altogether before submits are refused.
        max_batch: jobs in one batch request.
        max_input_bytes: of one job's input, as JSON.
        max_wait_s: longest time `wait` holds a caller.
        hub_queue: events a listener may be behind before it is told to read the log again.
        page_events: events read from the log at once.
        max_listeners: open event streams of one tenant.
        control_every_s: how often requests of other servers are looked for, and the log of jobs
            that other servers run while somebody listens.
        claim_every_s: how often free jobs are looked for.
        max_takeovers: times a job may be taken over from a server that died under it, without
            having got any further, before it is failed.
        aging_s: waiting time that lifts a job by one priority.
        plan_ttl_s: how long a plan serves equal requests before it is made anew.
        plans_kept: plans kept by workflow, model and limits.
        usage_ttl_s: how long a tenant's usage is believed before it is read again.
        retain_s: how long jobs that ended are kept; None keeps them for ever. Their idempotency
            keys go with them.
        drain_s: how long a server that stops waits for writing steps to end, and then for the
            store.
        policy: what jobs may do here at most; callers may only narrow it.
        allow_private_webhooks: lets webhooks reach private addresses; for tests and closed networks.
        allow_plain_webhooks: lets webhooks go to public http:// addresses.
        webhook_tries: attempts of one delivery, the first one included.
        webhook_timeout_s: of one attempt.
        webhook_response_bytes: what is read of an answer at most.
        webhook_body_bytes: beyond it a message goes without the job's output.
    """

    max_running: int = 64
    busy_accepting: int = 8
    busy_running: int = 8
    queue_in_memory: int = 4096
    queue_per_tenant: int = 1024
    queue_floor: int = 8
    max_queued: int = 100_000
    max_batch: int = 1000
    max_input_bytes: int = 4 << 20
    max_wait_s: float = 300.0
    hub_queue: int = 2048
    page_events: int = 500
    max_listeners: int = 256
    control_every_s: float = 0.25
    claim_every_s: float = 1.0
    max_takeovers: int = 3
    aging_s: float = 30.0
    plan_ttl_s: float = 60.0
    plans_kept: int = 256
    usage_ttl_s: float = 1.0
    retain_s: float | None = None
    drain_s: float = 10.0
    policy: Policy = field(default_factory=Policy)
    allow_private_webhooks: bool = False
    allow_plain_webhooks: bool = True
    webhook_tries: int = 8
    webhook_timeout_s: float = 10.0
    webhook_response_bytes: int = 16 << 10
    webhook_body_bytes: int = 1 << 20
