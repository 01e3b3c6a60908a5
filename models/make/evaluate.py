"""Put the held-out questions and tools to the model and count the right answers.

    python -m make.evaluate                       # this folder's model, plain transformers, greedy (run in models/)
    python -m make.evaluate --url http://127.0.0.1:8000/v1 --model tandem    # the same questions through a server

`heldout.jsonl` holds 100 questions, each with a rule; `heldout_tools.jsonl` 50 requests for tools that training never offers. Both were
written and committed before the first training. The `heldout_second` files (25 and 25) were written before the second. Each recipe was
made after reading the mistakes of the one before. Prints one JSON object; `--failures` adds what went wrong.
"""

import argparse
import json
import re
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MAX_NEW_TOKENS = 400
HAN = re.compile(r"[\u3400-\u9fff]")
CALL = re.compile(r"<tool_call>\n(.*?)\n</tool_call>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, taken apart. `thought` is None when the model wrote no thinking block at all."""

    thought: str | None
    content: str
    calls: list[dict[str, Any]]
    finished: bool


Ask = Callable[[list[dict[str, Any]], list[dict[str, Any]] | None, bool], Reply]


def take_apart(text: str, finished: bool) -> Reply:
    """Split raw model text into thinking, calls and content."""
    thought = None
    if text.startswith("<think>\n") and "</think>" in text:
        head, text = text.split("</think>", 1)
        thought = head.removeprefix("<think>\n").strip("\n")
    calls = []
    for body in CALL.findall(text):
        try:
            calls.append(json.loads(body))
        except ValueError:
            calls.append({"name": None, "arguments": body})
    return Reply(thought, CALL.sub("", text).strip(), calls, finished)


def local(folder: Path, device: str) -> Ask:
    """Ask through transformers, one request at a time, greedily."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).to(device).eval()

    def ask(messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, thinking: bool) -> Reply:
        prompt = tokenizer.apply_chat_template(
            messages, tools=tools, tokenize=False, add_generation_prompt=True, enable_thinking=thinking
        )
        inputs = tokenizer(prompt, return_tensors="pt").to(device)
        with torch.inference_mode():
            ids = model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)[0]
        new = ids[inputs["input_ids"].shape[1] :]
        return take_apart(tokenizer.decode(new, skip_special_tokens=True), len(new) < MAX_NEW_TOKENS)

    return ask


def remote(url: str, model: str) -> Ask:
    """Ask an OpenAI-compatible server. Works with and without a reasoning parser there."""

    def ask(messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, thinking: bool) -> Reply:
        body: dict[str, Any] = {
            "model": model,
            "messages": messages,
            "temperature": 0,
            "max_tokens": MAX_NEW_TOKENS,
            "chat_template_kwargs": {"enable_thinking": thinking},
        }
        if tools:
            body["tools"] = tools
        request = urllib.request.Request(
            f"{url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=300) as response:
            choice = json.load(response)["choices"][0]
        message = choice["message"]
        finished = choice["finish_reason"] != "length"
        raw = take_apart(message.get("content") or "", finished)
        thought = message.get("reasoning_content") or message.get("reasoning") or raw.thought
        calls = [
            {"name": call["function"]["name"], "arguments": json.loads(call["function"]["arguments"])}
            for call in message.get("tool_calls") or []
        ]
        return Reply(thought, raw.content, calls or raw.calls, finished)

    return ask


def has(text: str, words: list[str]) -> bool:
    return any(word.lower() in text.lower() for word in words)


def faults(rule: dict[str, Any], reply: Reply) -> list[str]:
    """What the reply breaks of a question's rule; empty when it is right."""
    found = [] if reply.finished else ["endless"]
    thinks = "absent" if reply.thought is None else "present" if reply.thought else "empty"
    wanted = rule["thinking"]
    if thinks != wanted and not (wanted == "empty" and thinks == "absent"):
        found.append(f"thinking {thinks}, not {wanted}")
    if "thinking_has" in rule and not has(reply.thought or "", rule["thinking_has"]):
        found.append(f"thinking lacks {rule['thinking_has']}")
    found += [f"lacks {words}" for words in rule["all_of"] if not has(reply.content, words)]
    found += [f"has {word}" for word in rule.get("none_of", []) if has(reply.content, [word])]
    if reply.calls:
        found.append("calls a tool")
    han = len(HAN.findall(reply.content))
    if rule.get("language") == "zh" and han < 3:
        found.append("not Chinese")
    if rule.get("language") == "en" and han * 5 > len(reply.content):
        found.append("not English")
    return found


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=HERE.parent / "tiny-qwen3")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--url", help="an OpenAI-compatible server's base, ending in /v1")
    parser.add_argument("--model", default="tiny-qwen3", help="the name to ask the server for")
    parser.add_argument("--failures", action="store_true", help="print each wrong answer to stderr")
    args = parser.parse_args()
    ask = remote(args.url, args.model) if args.url else local(args.folder, args.device)
    right: Counter[str] = Counter()
    asked: Counter[str] = Counter()

    def count(group: str, case: dict[str, Any], wrong: list[str], reply: Reply) -> None:
        asked[group] += 1
        right[group] += not wrong
        if wrong and args.failures and "." not in group:
            print(case["id"], case["messages"][-1]["content"][-160:], wrong, reply, sep="\n  ", file=sys.stderr)

    for order, name in (("first", "heldout"), ("second", "heldout_second")):
        for case in read(HERE / f"{name}.jsonl"):
            reply = ask(case["messages"], case.get("tools"), case["enable_thinking"])
            wrong = faults(case["rule"], reply)
            count(f"{order} questions", case, wrong, reply)
            count(f"{order} questions.{case['kind']}", case, wrong, reply)
        for case in read(HERE / f"{name}_tools.jsonl"):
            reply = ask(case["messages"], case["tools"], case["enable_thinking"])
            wrong = [] if reply.calls == [case["call"]] else [f"expected {case['call']}"]
            if case["enable_thinking"] != bool(reply.thought):
                wrong.append("thinking")
            count(f"{order} tool calls", case, wrong, reply)
            if "reply" not in case:
                continue
            called = {"role": "assistant", "content": "", "tool_calls": [
                {"id": "call_1", "type": "function", "function": {**case["call"], "arguments": json.dumps(case["call"]["arguments"], ensure_ascii=False)}}
            ]}  # fmt: skip
            told = {"role": "tool", "tool_call_id": "call_1", "content": case["reply"]}
            reply = ask([*case["messages"], called, told], case["tools"], case["enable_thinking"])
            wrong = [] if has(reply.content, case["then_any"]) and reply.finished and not reply.calls else ["answer"]
            count(f"{order} answers after a tool", case, wrong, reply)
    print(json.dumps({group: {"right": right[group], "of": asked[group]} for group in asked}, indent=2))


if __name__ == "__main__":
    main()
