"""Is a grammar one that an engine can live with? Runs in a process that is thrown away (grammar_guard.py).

It is compiled for a vocabulary of single bytes, which costs little and shows what is wrong with the grammar itself,
and then written at random: an ambiguous one gets slower with every token, and would stall the engine's every stream.
"""

import json
import random
import re
import time
from collections.abc import Iterator
from typing import Any

from tandem.core.request import Grammar

WALK_TOKENS = 400
"""How much of a text is written."""
STEP_LIMIT_S = 0.02
"""Processor time of one token. Usual grammars take a thousandth of it."""
_SLOW_STEPS = 3
"""So many tokens in a row: a single one may be the machine's, not the grammar's."""
_END = 256
_PLACE = re.compile(r"^\[[0-9:]+\] \S+: (Check failed: .* is false: )?")


def examine(grammar: Grammar) -> str:
    """What is wrong with it; empty: nothing is."""
    import xgrammar

    vocabulary = [bytes([byte]) for byte in range(256)] + [b"<end>"]
    info = xgrammar.TokenizerInfo(vocabulary, vocab_type=xgrammar.VocabType.RAW, stop_token_ids=[_END])
    compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
    try:
        compiled = _compile(xgrammar, compiler, grammar)
    except Exception as error:  # whatever the compiler says of a client's text
        return _said(error) or f"it does not compile ({type(error).__name__})"
    return _walk(xgrammar, compiled)


def _compile(xgrammar: Any, compiler: Any, grammar: Grammar) -> Any:
    """As vLLM's own backend does."""
    from vllm.v1.structured_output.utils import choice_as_grammar, grammar_is_likely_lark

    match grammar.kind:
        case "json_object":
            return compiler.compile_json_schema('{"type": "object"}')
        case "json_schema":
            _check_schemas([json.loads(grammar.value)])
            return compiler.compile_json_schema(grammar.value)
        case "regex":
            return compiler.compile_regex(grammar.value)
        case "choice":
            return compiler.compile_grammar(choice_as_grammar(json.loads(grammar.value)))
        case "grammar":
            lark = grammar_is_likely_lark(grammar.value)
            return compiler.compile_lark(grammar.value) if lark else compiler.compile_grammar(grammar.value)
        case "structural_tag":
            tag = json.loads(grammar.value)
            _check_schemas(list(_schemas(tag)))
            if "structures" not in tag:
                return compiler.compile_structural_tag(grammar.value)
            items = [
                xgrammar.StructuralTagItem(begin=one["begin"], schema=json.dumps(one["schema"]), end=one["end"])
                for one in tag["structures"]
            ]
            return compiler.compile_structural_tag(items, tag["triggers"])


def _check_schemas(schemas: list[Any]) -> None:
    """Raises `ValueError` for what the compiler would leave out without a word."""
    from vllm.v1.structured_output.backend_xgrammar import has_xgrammar_unsupported_json_features

    if any(has_xgrammar_unsupported_json_features(schema) for schema in schemas):
        raise ValueError("the schema has features that the engine cannot enforce")


def _schemas(value: Any) -> Iterator[Any]:
    """The JSON schemas in a structural tag."""
    if isinstance(value, list):
        for item in value:
            yield from _schemas(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key in ("json_schema", "schema"):
                yield item
            else:
                yield from _schemas(item)


def _walk(xgrammar: Any, compiled: Any) -> str:
    matcher = xgrammar.GrammarMatcher(compiled)
    mask = xgrammar.allocate_token_bitmask(1, _END + 1)
    draw, slow = random.Random(0), 0
    for count in range(WALK_TOKENS):
        began = time.thread_time()
        matcher.fill_next_token_bitmask(mask)
        words = mask[0].tolist()
        allowed = [token for token in range(_END) if words[token // 32] >> (token % 32) & 1]
        if not allowed:
            return "" if count or words[_END // 32] & 1 else "it allows no text at all"
        if not matcher.accept_token(draw.choice(allowed)):
            return "it contradicts itself"
        took_s = time.thread_time() - began
        slow = slow + 1 if took_s > STEP_LIMIT_S else 0
        if slow == _SLOW_STEPS or took_s > 10 * STEP_LIMIT_S:
            return f"it is too ambiguous: after {count} bytes of text one more takes over {STEP_LIMIT_S * 1000:g} ms"
    return ""


def _said(error: Exception) -> str:
    """What the compiler says is the matter, without the time, and place and condition in its own source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return _PLACE.sub("", lines[-1])[:300] if lines else ""
