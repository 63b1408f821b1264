"""The tables of the job store, version by version, for both databases."""

from __future__ import annotations

from gangline.ir.errors import StoreError

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE jobs (
            id TEXT PRIMARY KEY,
            status TEXT NOT NULL,
            workflow TEXT NOT NULL,
            created_s REAL NOT NULL,
            updated_s REAL NOT NULL,
            seconds REAL,
            usd REAL NOT NULL DEFAULT 0,
            late INTEGER NOT NULL DEFAULT 0,
            last_seq INTEGER NOT NULL DEFAULT 0,
            owner TEXT NOT NULL DEFAULT '',
            epoch INTEGER NOT NULL DEFAULT 0,
            lease_until_s REAL NOT NULL DEFAULT 0
        ) WITHOUT ROWID""",
        "CREATE INDEX jobs_by_status ON jobs (status, id)",
        """CREATE TABLE events (
            job_id TEXT NOT NULL,
            seq INTEGER NOT NULL,
            type TEXT NOT NULL,
            step_id TEXT NOT NULL,
            at_s REAL NOT NULL,
            data TEXT NOT NULL,
            PRIMARY KEY (job_id, seq)
        ) WITHOUT ROWID""",
    ),
    (
        "DROP INDEX jobs_by_status",
        "ALTER TABLE jobs DROP COLUMN lease_until_s",
        "ALTER TABLE jobs ADD COLUMN tenant TEXT NOT NULL DEFAULT 'local'",
        "ALTER TABLE jobs ADD COLUMN priority INTEGER NOT NULL DEFAULT 5",
        "ALTER TABLE jobs ADD COLUMN deadline_at_s REAL",
        "ALTER TABLE jobs ADD COLUMN on_deadline TEXT NOT NULL DEFAULT 'late'",
        "ALTER TABLE jobs ADD COLUMN budget_usd REAL",
        "ALTER TABLE jobs ADD COLUMN error_code TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE jobs ADD COLUMN forked_from TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE jobs ADD COLUMN predicted_s REAL",
        "ALTER TABLE jobs ADD COLUMN predicted_usd REAL",
        "ALTER TABLE jobs ADD COLUMN prompt_tokens INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE jobs ADD COLUMN output_tokens INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE jobs ADD COLUMN steps INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE jobs ADD COLUMN started_s REAL",
        "ALTER TABLE jobs ADD COLUMN ended_s REAL",
        "ALTER TABLE jobs ADD COLUMN metadata TEXT NOT NULL DEFAULT '{}'",
        "ALTER TABLE jobs ADD COLUMN webhook TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE jobs ADD COLUMN program_ref TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE jobs ADD COLUMN plan_ref TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE jobs ADD COLUMN idempotency_key TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE jobs ADD COLUMN body_hash TEXT NOT NULL DEFAULT ''",
        # A page of the newest, whatever it is narrowed by, is a walk along one of these.
        "CREATE INDEX jobs_by_time ON jobs (created_s, id)",
        "CREATE INDEX jobs_by_status ON jobs (status, created_s, id)",
        "CREATE INDEX jobs_by_tenant ON jobs (tenant, created_s, id)",
        "CREATE INDEX jobs_by_tenant_status ON jobs (tenant, status, created_s, id)",
        "CREATE INDEX jobs_by_workflow ON jobs (tenant, workflow, created_s, id)",
        # What there is to do, and how much of it each tenant has: few rows of many.
        """CREATE INDEX jobs_open ON jobs (tenant, priority, created_s, id)
            WHERE status IN ('queued', 'running')""",
        """CREATE UNIQUE INDEX jobs_by_key ON jobs (tenant, idempotency_key)
            WHERE idempotency_key <> ''""",
        # Whether anybody still needs a document.
        "CREATE INDEX jobs_by_program ON jobs (program_ref) WHERE program_ref <> ''",
        "CREATE INDEX jobs_by_plan ON jobs (plan_ref) WHERE plan_ref <> ''",
        "CREATE TABLE programs (hash TEXT PRIMARY KEY, document TEXT NOT NULL)",
        """CREATE TABLE owners (
            name TEXT PRIMARY KEY,
            until_s REAL NOT NULL,
            era TEXT NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE controls (
            job_id TEXT NOT NULL,
            number INTEGER NOT NULL,
            kind TEXT NOT NULL,
            data TEXT NOT NULL,
            epoch INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (job_id, number)
        ) WITHOUT ROWID""",
        """CREATE TABLE usage (
            tenant TEXT NOT NULL,
            width_s INTEGER NOT NULL,
            slot INTEGER NOT NULL,
            usd REAL NOT NULL,
            tokens INTEGER NOT NULL,
            writer TEXT NOT NULL DEFAULT '',
            PRIMARY KEY (tenant, width_s, slot, writer)
        ) WITHOUT ROWID""",
        """CREATE TABLE api_keys (
            id TEXT PRIMARY KEY,
            hash TEXT NOT NULL UNIQUE,
            tenant TEXT NOT NULL,
            scopes TEXT NOT NULL,
            quota TEXT NOT NULL,
            created_s REAL NOT NULL,
            revoked_s REAL,
            note TEXT NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE deliveries (
            id TEXT PRIMARY KEY,
            job_id TEXT NOT NULL,
            tenant TEXT NOT NULL,
            event TEXT NOT NULL,
            webhook TEXT NOT NULL,
            at_s REAL NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            next_at_s REAL NOT NULL,
            error TEXT NOT NULL DEFAULT '',
            dropped INTEGER NOT NULL DEFAULT 0
        ) WITHOUT ROWID""",
        "CREATE INDEX deliveries_due ON deliveries (next_at_s) WHERE dropped = 0",
        "CREATE INDEX deliveries_by_job ON deliveries (job_id)",
    ),
    (
        # What rests and has a hard deadline: few rows of many.
        """CREATE INDEX jobs_to_expire ON jobs (deadline_at_s)
            WHERE on_deadline = 'expire' AND status IN ('queued', 'input_required')""",
    ),
    (
        """CREATE TABLE memory_spaces (
            tenant TEXT NOT NULL,
            space TEXT NOT NULL,
            kind TEXT NOT NULL,
            model TEXT NOT NULL DEFAULT '',
            dimensions INTEGER NOT NULL DEFAULT 0,
            entries INTEGER NOT NULL DEFAULT 0,
            words INTEGER NOT NULL DEFAULT 0,
            last_number INTEGER NOT NULL DEFAULT 0,
            updated_s REAL NOT NULL,
            PRIMARY KEY (tenant, space)
        ) WITHOUT ROWID""",
        """CREATE TABLE memory_entries (
            tenant TEXT NOT NULL,
            space TEXT NOT NULL,
            key TEXT NOT NULL,
            value TEXT NOT NULL,
            words INTEGER NOT NULL,
            created_s REAL NOT NULL,
            updated_s REAL NOT NULL,
            job_id TEXT NOT NULL,
            PRIMARY KEY (tenant, space, key)
        )""",
        # Apart from values: a lookup by vector reads all vectors of a space and few values.
        """CREATE TABLE memory_vectors (
            tenant TEXT NOT NULL,
            space TEXT NOT NULL,
            key TEXT NOT NULL,
            vector BLOB NOT NULL,
            PRIMARY KEY (tenant, space, key)
        )""",
        """CREATE TABLE memory_words (
            tenant TEXT NOT NULL,
            space TEXT NOT NULL,
            word TEXT NOT NULL,
            key TEXT NOT NULL,
            times INTEGER NOT NULL,
            length INTEGER NOT NULL,
            PRIMARY KEY (tenant, space, word, key)
        ) WITHOUT ROWID""",
        "CREATE INDEX memory_words_by_key ON memory_words (tenant, space, key)",
        # What steps have written, so that none does it twice.
        """CREATE TABLE memory_writes (
            id TEXT PRIMARY KEY,
            job_id TEXT NOT NULL,
            result TEXT NOT NULL
        ) WITHOUT ROWID""",
        "CREATE INDEX memory_writes_by_job ON memory_writes (job_id)",
    ),
)
"""Statements that bring the store from version n to n + 1, as SQLite takes them.

PostgreSQL runs the same ones, translated word by word: types, collation, `WITHOUT ROWID`.
"""

REFOLD_FROM = 1
"""Stores of this version and older had rows with fewer columns: their events are folded again."""


def pending(version: int) -> list[str]:
    """Give the statements a store of a version still lacks; StoreError if it is newer than us."""
    if version > len(MIGRATIONS):
        raise StoreError(
            f"The job store was written by a newer gangline (schema {version})",
            next_step="Upgrade gangline, or set GANGLINE_HOME to another folder.",
        )
    return [statement for step in MIGRATIONS[version:] for statement in step]
