"""Answers in harmony, and what is in them."""

from typing import NamedTuple

from tests.processor.parsers.corpus import CUT, NOW, OSLO, cut
from tests.processor.parsers.folding import Found


def harmony(name: str, arguments: str) -> str:
    return f"<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>{arguments}<|call|>"


ANALYSIS = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"


class Whole(NamedTuple):
    """An answer with thoughts."""

    name: str
    text: str
    reasoning: str
    found: Found
    differs: str = ""
    """Why vLLM finds something else; empty: it finds the same."""


HARMONY = [
    Whole("final", f"{ANALYSIS}<|channel|>final<|message|>Yes.<|return|>", "Hm.", ["Yes."]),
    Whole("no thought", "<|channel|>final<|message|>Yes.", "", ["Yes."]),
    Whole("call", f"{ANALYSIS}{harmony(*OSLO)}", "Hm.", [OSLO]),
    Whole("its end is a stop token, which is not shown", f"{ANALYSIS}{harmony(*OSLO)[:-8]}", "Hm.", [OSLO]),
    Whole(
        "recipient first",
        f"{ANALYSIS} to=functions.weather<|channel|>commentary json<|message|>{OSLO[1]}<|call|>",
        "Hm.",
        [OSLO],
    ),
    Whole(
        "preamble and two calls",
        f"<|channel|>commentary<|message|>Look:<|end|><|start|>assistant{harmony(*OSLO)}<|start|>assistant{harmony(*NOW)}",
        "",
        ["Look:", OSLO, NOW],
    ),
    Whole("two thoughts", f"{ANALYSIS}{ANALYSIS}<|channel|>final<|message|>Yes.", "Hm.\nHm.", ["Yes."]),
    Whole(
        "another tool",
        f"<|channel|>analysis to=python code<|message|>1+1<|call|>{ANALYSIS}",
        "1+1\nHm.",
        [],
        "vLLM stops reading after the first call",
    ),
    Whole("no arguments", harmony("now", ""), "", [NOW], "vLLM leaves the arguments empty, which is no JSON"),
    Whole("cut off in a thought", "<|channel|>analysis<|message|>Hm", "Hm", []),
    Whole("cut off in a call", cut(harmony(*OSLO)), "", [CUT]),
    Whole("no harmony", "Yes <|end|> no", "", ["Yes \n no"], "vLLM shows the mark"),
    Whole("cut off in a header", f"{ANALYSIS}<|channel|>fin", "Hm.", [], "vLLM shows the header"),
]
