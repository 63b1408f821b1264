"""Every limit of the OpenAI-compatible routes, in one place."""

from __future__ import annotations

MAX_CHOICES = 32
"""Outputs of one request: `n`, times the prompts of a completion."""
MAX_PROMPTS = 32
MAX_IN_FLIGHT = 8192
"""Requests to engines that do not belong to jobs, of all tenants of one server process."""
MAX_INPUTS = 2048
"""Texts of one embeddings request (as OpenAI)."""
MAX_MESSAGES = 4096
MAX_TOOLS = 128
MAX_STOPS = 16
MAX_STOP_CHARS = 256
MAX_SCHEMA_CHARS = 100_000
"""Of a JSON Schema: the engine compiles it between two steps, while everybody waits."""
MAX_CALLS = 16
"""Tool calls of one answer that must call a tool."""
MAX_TOP_LOGPROBS = 20
MAX_PRIORITY = 100
MAX_DEADLINE_MS = 1e10
DEFAULT_MAX_TOKENS = 2048
"""Output tokens of a chat that names no limit, where the model's context leaves room for them."""
DEFAULT_COMPLETION_TOKENS = 16
"""Of a completion that names none (as OpenAI)."""
THREAD_CHARS = 4000
"""Prompts longer than this are turned into tokens on a thread, not on the loop."""
FIRST_S = 1.0
"""How long a stream waits with its head for the engine to say no, which then has a status."""
