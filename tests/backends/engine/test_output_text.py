"""Output text: whole characters only, nothing of a stop string, nothing lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gangline.backends.engine.output_text import MAX_HELD_TOKENS, REPLACEMENT, OutputText
from gangline.backends.fake import decode_text


def stream(raw: bytes, stop: tuple[str, ...] = ()) -> tuple[list[str], OutputText]:
    output = OutputText(decode_text, stop)
    pieces = [output.feed(token) for token in raw]
    return [*pieces, output.finish()], output


def cut(text: str, stop: tuple[str, ...]) -> str:
    """The oracle: read character by character, stop at the first stop string that is complete."""
    for end in range(1, len(text) + 1):
        done = [word for word in stop if word and text[:end].endswith(word)]
        if done:
            return text[: end - max(map(len, done))]
    return text


def test_a_character_comes_when_its_last_byte_does() -> None:
    pieces, _ = stream("a€🐕".encode())
    assert pieces == ["a", "", "", "€", "", "", "", "🐕", ""]


def test_a_stop_string_across_tokens_never_shows_not_even_its_start() -> None:
    pieces, output = stream(b"SELECT 1;\n--", (";\n\n", "\n--"))
    assert "".join(pieces) == output.text == "SELECT 1;"
    assert output.stopped


def test_text_that_only_looked_like_a_stop_string_comes_out_in_the_end() -> None:
    pieces, output = stream(b"a``", ("```",))
    assert pieces == ["a", "", "", "``"]
    assert not output.stopped


def test_bytes_that_are_no_utf8_are_not_held_for_ever() -> None:
    pieces, _ = stream(b"\xff" * 20)
    assert pieces[MAX_HELD_TOKENS - 1] == REPLACEMENT * MAX_HELD_TOKENS
    assert "".join(pieces) == REPLACEMENT * 20


def test_a_decoder_that_drops_a_leading_space_loses_no_space_between_words() -> None:
    words = {1: " one", 2: " two"}

    def decode(tokens: object) -> str:
        assert isinstance(tokens, list)
        return "".join(words[token] for token in tokens).removeprefix(" ")

    output = OutputText(decode)
    assert [output.feed(token) for token in (1, 2, 2, 1)] == ["one", " two", " two", " one"]


@given(st.text(), st.lists(st.text(max_size=3), max_size=3))
def test_pieces_are_the_text_up_to_the_first_stop_string(text: str, words: list[str]) -> None:
    stop = tuple(words)
    pieces, output = stream(text.encode(), stop)
    assert "".join(pieces) == output.text == cut(text, stop)
    assert output.stopped == (output.text != text)


@given(st.text(alphabet="ab", max_size=12), st.lists(st.text("ab", max_size=4), max_size=3))
def test_stop_strings_that_overlap_themselves(text: str, words: list[str]) -> None:
    stop = tuple(words)
    assert stream(text.encode(), stop)[1].text == cut(text, stop)


@given(st.text(alphabet="aé€🐕"))
def test_no_half_character_ever_shows(text: str) -> None:
    pieces, _ = stream(text.encode())
    assert not any(REPLACEMENT in piece for piece in pieces)


@given(st.binary(max_size=40))
def test_any_bytes_come_out_and_none_is_held_beyond_the_limit(raw: bytes) -> None:
    pieces, output = stream(raw)
    assert "".join(pieces) == output.text
    num_silent = 0
    for piece in pieces[:-1]:
        num_silent = 0 if piece else num_silent + 1
        assert num_silent < MAX_HELD_TOKENS
