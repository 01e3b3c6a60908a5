"""Log probabilities of tokens that are no text by themselves."""

from tandem.core.request import TokenLogprobs
from tandem.processor.logprobs import CompletionLogprobsWriter


class Bytes:
    """A model whose tokens 1 and 2 are each a piece of a character, and 3 a letter."""

    def token_bytes(self, token_id: int) -> bytes:
        return {1: b"\xe6", 2: b"\xb5", 3: b"a"}[token_id]


def test_of_pieces_of_characters_which_are_spelled_alike_the_likelier_ones_probability_stands() -> None:
    writer = CompletionLogprobsWriter(Bytes(), top=3)  # type: ignore[arg-type]
    made = writer.write([1], [TokenLogprobs(-0.1, 1, [(1, -0.1), (2, -2.5), (3, -4.0)])])
    assert made.top_logprobs == [{"\ufffd": -0.1, "a": -4.0}]
