"""Our reader of harmony beside vLLM's, which reads tokens: with the vocabulary that gpt-oss has.

That vocabulary is no part of any package of ours; LiteLLM's has it, in the environment of `scripts/clients.sh`.
"""

import hashlib
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.processor.parsers.corpus import as_openai
from tests.processor.parsers.harmony_corpus import HARMONY, Whole
from tests.processor.parsers.test_oracles import meant, ours

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),  # vLLM's own
]
SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
"""Of o200k_base."""
CLIENTS = Path(__file__).parents[3] / ".run" / "clients"
Read = tuple[str, tuple[str, list[tuple[str, Any]]]]


class Tokenizer:
    """As much of one as vLLM's reader asks for."""

    def __init__(self, encoding: Any) -> None:
        self._encoding = encoding

    def encode(self, text: str, **_: Any) -> list[int]:
        ids: list[int] = self._encoding.encode(text, allowed_special="all")
        return ids

    def decode(self, ids: list[int], **_: Any) -> str:
        return str(self._encoding.decode(ids))

    def get_vocab(self) -> dict[str, int]:
        marks = ("channel", "message", "end", "start", "call", "return", "constrain")
        return {f"<|{mark}|>": self.encode(f"<|{mark}|>")[0] for mark in marks}


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Read]]:
    """Reads a text with vLLM's reader: thought, content and calls."""
    files = CLIENTS.glob("lib/*/site-packages/litellm/litellm_core_utils/tokenizers/" + "[0-9a-f]" * 40)
    found = next((file for file in files if hashlib.sha256(file.read_bytes()).hexdigest() == SHA256), None)
    assert found is not None, "scripts/clients.sh makes it; make acceptance calls that"
    folder = tmp_path_factory.mktemp("vocabulary")
    shutil.copy(found, folder / "o200k_base.tiktoken")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_ENCODINGS_BASE", str(folder))
        from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
        from vllm.entrypoints.openai.parser.harmony_utils import get_encoding
        from vllm.parser.harmony import HarmonyParser
        from vllm.reasoning.gptoss_reasoning_parser import GptOssReasoningParser
        from vllm.tool_parsers.gptoss_tool_parser import GptOssToolParser

        patch.setattr(HarmonyParser, "reasoning_parser_cls", GptOssReasoningParser)
        patch.setattr(HarmonyParser, "tool_parser_cls", GptOssToolParser)
        tokenizer = Tokenizer(get_encoding())
        question: Any = [{"role": "user", "content": "x"}]
        request = ChatCompletionRequest(messages=question, tools=as_openai(), tool_choice="auto")

        def reading(text: str) -> Read:
            parser = HarmonyParser(tokenizer, request.tools)
            thought, content, calls = parser.parse(text, request, True, tokenizer.encode(text))
            return thought or "", meant(content or "", [(call.name, call.arguments) for call in calls or ()])

        logging.disable(logging.WARNING)  # it warns of every answer that is cut off
        yield reading
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("case", HARMONY, ids=lambda case: case.name)
def test_harmony_is_read_as_vllm_reads_it_or_the_difference_is_known(vllm: Callable[[str], Read], case: Whole) -> None:
    same = (case.reasoning, ours(case.found)) == vllm(case.text)
    assert same is (not case.differs), case.differs or "vLLM finds something else"
