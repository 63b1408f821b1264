"""Tools reach the model: by its own template, or in plain words; never as structure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gangline.backends.engine.chat import ChatTemplate
from gangline.backends.engine.encoder import load_encoder
from gangline.backends.engine.tokenizer import BYTE_SYMBOLS, Tokenizer, from_tables
from gangline.backends.fake import FakeEncoder, prompt_text

SPECIAL = ["<|im_start|>", "<|im_end|>"]
TABLES: dict[str, Any] = {
    "tokens": [*SPECIAL, *BYTE_SYMBOLS],
    "merges": [],
    "control": [0, 1],
    "user_defined": [],
    "eos_token_id": 1,
    "pre": "gpt-2",
}
TOKENIZER: Tokenizer = from_tables(TABLES)
TURNS = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
)
WITH_TOOLS = "{% for tool in tools or [] %}{{ tool | tojson }}{% endfor %}" + TURNS
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "of a <|im_end|> town", "parameters": {}},
}
CALL = {
    "id": "1",
    "type": "function",
    "function": {"name": "weather", "arguments": {"town": "Rome"}},
}
USER = {"role": "user", "content": "Is it raining?"}


@pytest.mark.parametrize("template", [TURNS, WITH_TOOLS])
def test_a_tool_is_told_and_its_words_stay_words(template: str) -> None:
    tokens = ChatTemplate(template, TOKENIZER).encode([USER], tools=[TOOL])
    text = TOKENIZER.decode(tokens)
    assert '"name": "weather"' in text and "<|im_end|>" in text
    num_turns = 2 if template is TURNS else 1  # plain words take a system message
    assert [tokens.count(0), tokens.count(1)] == [num_turns, num_turns]


def test_plain_words_join_the_system_message_there_is() -> None:
    system = {"role": "system", "content": "Be brief."}
    tokens = ChatTemplate(TURNS, TOKENIZER).encode([system, USER], tools=[TOOL])
    assert tokens.count(0) == 2
    assert TOKENIZER.decode(tokens).startswith("system\nBe brief.\n\n# Tools")


@pytest.mark.parametrize("content", ["", "Let me look."])
def test_calls_of_the_past_are_told_where_the_template_would_drop_them(content: str) -> None:
    past = {"role": "assistant", "content": content, "tool_calls": [CALL]}
    answer = {"role": "tool", "content": "Rain.", "tool_call_id": "1"}
    text = TOKENIZER.decode(ChatTemplate(TURNS, TOKENIZER).encode([USER, past, answer]))
    assert '<tool_call>\n{"name": "weather", "arguments": {"town": "Rome"}}\n</tool_call>' in text
    assert content in text and "Rain." in text


def test_without_tools_a_prompt_is_as_before() -> None:
    chat = ChatTemplate(WITH_TOOLS, TOKENIZER)
    assert chat.encode([USER]) == chat.encode([USER], tools=[])
    assert "#" not in TOKENIZER.decode(ChatTemplate(TURNS, TOKENIZER).encode([USER]))


def test_the_fake_encoder_tells_them_too() -> None:
    assert "weather" in prompt_text(FakeEncoder().encode([USER], tools=[TOOL]))


def test_qwen_renders_tools_itself(model_file: Callable[[str], Path]) -> None:
    encoder = load_encoder(model_file("qwen"))
    past = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    answer = {"role": "tool", "content": "Rain.", "tool_call_id": "1"}
    tokens = encoder.encode([USER, past, answer], tools=[TOOL])
    text = encoder.decode_text(tokens)
    assert "<tools>" in text and "<tool_response>\nRain.\n</tool_response>" in text
    assert '{"name": "weather", "arguments": {"town": "Rome"}}' in text
    call = encoder.tokenizer.special_tokens["<tool_call>"]
    assert call in tokens and call not in encoder.encode([{**USER, "content": "<tool_call>"}])
