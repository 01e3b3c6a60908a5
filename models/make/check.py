"""Look whether the held-out files are held out: draw many dialogues and search them for held-out questions, tools and parameters.

python -m make.check [dialogues]     # run in models/; exit status 1 when something leaks
"""

import json
import re
import sys
from random import Random

from . import dialogues, evaluate


def normal(text: str) -> str:
    return re.sub(r"[^\w]+", "", text.lower())


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    sets = ("heldout", "heldout_second")
    asked = [case for name in sets for case in evaluate.read(evaluate.HERE / f"{name}.jsonl")]
    cases = [case for name in sets for case in evaluate.read(evaluate.HERE / f"{name}_tools.jsonl")]
    questions = {normal(case["messages"][-1]["content"]) for case in asked}
    questions |= {normal(case["messages"][-1]["content"]) for case in cases}
    offered = [tool["function"] for case in cases for tool in case["tools"]]
    names = {tool["name"] for tool in offered}
    parameters = {name for tool in offered for name in tool["parameters"]["properties"]}
    rng = Random("check")
    leaks: set[str] = set()
    drawn_questions = drawn_tools = 0
    for _ in range(count):
        prompt = dialogues.sample(rng).text
        for text in re.findall(r"<\|im_start\|>user\n(.*?)<\|im_end\|>", prompt, re.DOTALL):
            drawn_questions += 1
            if (plain := normal(text)) in questions:
                leaks.add(f"question {plain[:80]}")
        if "<tools>\n" in prompt:
            for line in prompt.split("<tools>\n")[1].split("\n</tools>")[0].split("\n"):
                tool = json.loads(line)["function"]
                drawn_tools += 1
                leaks |= {f"tool {tool['name']}"} if tool["name"] in names else set()
                leaks |= {f"parameter {name}" for name in tool["parameters"]["properties"] if name in parameters}
    print(
        json.dumps(
            {"dialogues": count, "questions": drawn_questions, "tools": drawn_tools, "leaks": sorted(leaks)},
            ensure_ascii=False,
        )
    )
    sys.exit(bool(leaks))


if __name__ == "__main__":
    main()
