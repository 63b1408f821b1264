"""The body of `POST /v1/chat/completions`, checked."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from . import limits


def whole(value: Any) -> Any:
    """Take 5.0 for 5, as JSON Schema does; in lists too."""
    if isinstance(value, list):
        return [whole(item) for item in value] if float in map(type, value) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(whole)
"""To be put after the limits of an integer: before them, pydantic loses them in the schema."""
Stop = Annotated[str, Field(max_length=limits.MAX_STOP_CHARS)]
Temperature = Annotated[float, Field(ge=0, le=2)]
TopP = Annotated[float, Field(gt=0, le=1)]
Priority = Annotated[int, Field(ge=-limits.MAX_PRIORITY, le=limits.MAX_PRIORITY), WHOLE]
DeadlineMs = Annotated[float, Field(gt=0, le=limits.MAX_DEADLINE_MS)]
Tokens = Annotated[int, Field(ge=1, le=1 << 24), WHOLE]
Choices = Annotated[int, Field(ge=1, le=limits.MAX_CHOICES), WHOLE]
TopLogprobs = Annotated[int, Field(ge=0, le=limits.MAX_TOP_LOGPROBS), WHOLE]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Seed = Annotated[int, Field(ge=-(1 << 63), lt=1 << 63), WHOLE]
Model = Annotated[str, Field(min_length=1, max_length=200)]


class Strict(BaseModel):
    """Refuses fields it does not know: a misspelt option must not be passed over."""

    model_config = ConfigDict(extra="forbid")


class Loose(BaseModel):
    """Passes over fields it does not know: clients send messages back as they got them."""

    model_config = ConfigDict(extra="ignore")


class ContentPart(Loose):
    """A piece of a message; only text can be read here."""

    type: Literal["text"]
    text: str


class CalledFunction(Loose):
    """What an assistant called: arguments as JSON text."""

    name: str = Field(min_length=1, max_length=64)
    arguments: str = ""


class PastCall(Loose):
    """A tool call of an earlier answer."""

    id: str = Field(default="", max_length=200)
    type: Literal["function"] = "function"
    function: CalledFunction


class Message(Loose):
    """One message of the conversation. `developer` is read as `system`."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[ContentPart] | None = None
    name: str | None = Field(default=None, max_length=200)
    tool_calls: list[PastCall] | None = Field(default=None, max_length=limits.MAX_TOOLS)
    tool_call_id: str | None = Field(default=None, max_length=200)


class Function(Strict):
    """A function the model may call; `parameters` is a JSON Schema of an object."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Strict):
    """A tool; functions are all there is."""

    type: Literal["function"]
    function: Function


class FunctionName(Strict):
    """The name of a function."""

    name: str = Field(min_length=1, max_length=64)


class NamedTool(Strict):
    """The one tool that must be called."""

    type: Literal["function"]
    function: FunctionName


class JsonSchema(Strict):
    """What the answer must match. It always does, with or without `strict`."""

    model_config = ConfigDict(extra="forbid", serialize_by_alias=True)

    name: str = Field(default="answer", max_length=64)
    description: str | None = None
    schema_: dict[str, Any] = Field(default_factory=dict, alias="schema")
    strict: bool | None = None


class ResponseFormat(Strict):
    """The form of the answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(Strict):
    """Options of a stream; `include_usage` adds a last chunk with the token counts."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Sampled(Strict):
    """What chats and completions have in common.

    Attributes:
        seed: equal seeds give equal outputs on one kind of device; without one they differ.
        priority: lower is sooner (as in vLLM); below 0 only for keys with the scope `admin`.
        deadline_ms: when the answer should be complete, from now on: how urgent it is. A late
            answer comes all the same.
        ignore_eos: go on past the model's end-of-sequence token.
        user, store, metadata: taken and passed over, like every other field of OpenAI's that
            changes nothing here.
    """

    model: Model
    temperature: Temperature | None = None
    top_p: TopP | None = None
    n: Choices | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=limits.MAX_STOPS)] | None = None
    max_tokens: Tokens | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, float] | None = None
    seed: Seed | None = None
    priority: Priority | None = None
    deadline_ms: DeadlineMs | None = None
    ignore_eos: bool | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None


class ChatRequest(Sampled):
    """One chat completion."""

    messages: list[Message] = Field(min_length=1, max_length=limits.MAX_MESSAGES)
    max_completion_tokens: Tokens | None = None
    logprobs: bool | None = None
    top_logprobs: TopLogprobs | None = None
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = Field(default=None, max_length=limits.MAX_TOOLS)
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    modalities: list[Literal["text"]] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
