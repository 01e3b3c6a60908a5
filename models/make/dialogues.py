"""The training dialogues: an endless, seeded stream of prompts with the answer that the demo model should give.

`sample(rng)` draws one. The prompt is rendered with the model folder's own chat template, so training and serving see the same text.
"""

import json
import re
from dataclasses import dataclass, field
from random import Random
from typing import Any

import jinja2
import jinja2.ext

from . import facts, patterns, shape, stories, toolbox, words

Json = dict[str, Any]

RESERVED_PAIRS = {
    frozenset(pair)
    for pair in (
        ("prefill", "decode"),
        ("etcd", "NATS"),
        ("TTFT", "ITL"),
        ("the router", "the planner"),
        ("a tokenizer", "the chat template"),
    )
}
"""Comparisons that only the held-out questions make."""
RESERVED_SUMS = {frozenset(pair) for pair in ((17, 25), (64, 19), (7, 8), (33, 48), (23, 39), (90, 28), (71, 17))}
"""Numbers that only the held-out questions put together."""


@dataclass(slots=True)
class Reply:
    """What the model should write: a thought (when it thinks), then text or calls."""

    thought: str
    content: str = ""
    calls: list[Json] = field(default_factory=list)

    def body(self) -> str:
        calls = [f"<tool_call>\n{json.dumps(call, ensure_ascii=False)}\n</tool_call>" for call in self.calls]
        return "\n".join(([self.content] if self.content else []) + calls)


@dataclass(slots=True)
class Turn:
    """A question, its reply, and what a follow-up may refer to."""

    text: str
    reply: Reply
    chinese: bool
    topic: facts.Topic | None = None
    intent: str = ""
    kind: str = ""


@dataclass(slots=True)
class Sample:
    """One training example: pieces of text, and whether the model should learn to write each."""

    kind: str
    parts: list[tuple[str, bool]]

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.parts)


def chat_template() -> jinja2.Template:
    """The model's template, compiled as transformers compiles it."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols])
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.from_string((shape.MODEL_DIR / "chat_template.jinja").read_text(encoding="utf-8"))


TEMPLATE = chat_template()


# How people put things: openings, endings, slips.

OPENINGS_EN = [
    "",
    "",
    "",
    "",
    "",
    "",
    "hey, ",
    "hi! ",
    "hello, ",
    "ok, ",
    "so, ",
    "quick question: ",
    "one question: ",
    "excuse me, ",
    "sorry, ",
    "I am new here. ",
    "for my notes: ",
    "now ",
    "and ",
    "well, ",
    "please, ",
    "hi there. ",
    "dear model, ",
    "oh, ",
    "another thing: ",
    "I wonder, ",
    "next: ",
    "as a beginner I ask: ",
]
ENDINGS_EN = [
    "",
    "",
    "",
    "",
    "",
    "",
    " please",
    ", please",
    ", thanks",
    " in one sentence",
    " briefly",
    " in short",
    " in a few words",
    " for beginners",
    " in Tandem",
    " here",
    " exactly",
    " again",
    " in simple words",
    " for me",
    " then",
    " in this system",
    ", in your opinion",
    " to a child",
    " right now",
    " today",
    ", my friend",
]
STOPS_EN = ["?", "?", "?", "", "", ".", "!", "??", "...", " ?", "?!"]
OPENINGS_ZH = [
    "",
    "",
    "",
    "",
    "",
    "你好，",
    "请问",
    "请",
    "那么，",
    "嗨，",
    "问一下，",
    "我想问，",
    "麻烦你，",
    "再问一个，",
    "帮我",
    "现在",
    "好的，",
    "对了，",
    "老师，",
    "我是新手，",
    "同学问我，",
    "想请你说说，",
]
ENDINGS_ZH = [
    "",
    "",
    "",
    "",
    "",
    "呢",
    "啊",
    "吗",
    "，谢谢",
    "，请简单说明",
    "，一句话",
    "，说给新手听",
    "，在Tandem里",
    "吧",
    "，详细一点",
    "，快点说",
    "，好吗",
    "，行不行",
    "哦",
]
STOPS_ZH = ["？", "？", "?", "", "", "。", "！", "…"]

DEFINE_EN = (
    "what is {t}|what's {t}|explain {t}|define {t}|describe {t}|tell me about {t}|what does {t} mean|what do you mean by {t}|how would you explain {t}|give me a definition of {t}|"
    "what exactly is {t}|can you explain {t}|could you explain {t} to me|I want to know what {t} is|I do not understand {t}|I have a question about {t}|what do you know about {t}|{t}|"
    "{t} means what|please explain {t}|a short explanation of {t}|what is {t}, in one sentence|{t}: explain|{t} explained|meaning of {t}|definition of {t}|how does {t} work|"
    "say something about {t}|describe {t} in simple words|what should I know about {t}|I heard about {t}, what is it|my friend talks about {t} all the time|summary of {t}|introduce {t}|"
    "what kind of thing is {t}|how is {t} defined|explain {t} like I am five|the idea of {t}|basics of {t}|is {t} important, and what is it|I read about {t} yesterday|somebody asked me about {t}|"
    "what does {t} do|what is {t} doing|write a sentence about {t}|do you know {t}|have you heard of {t}|what is behind {t}|what is the meaning of {t}|I am looking for information on {t}|"
    "inform me about {t}|tell me what {t} is|what's the deal with {t}|more about {t}|I would like to hear about {t}|details on {t}|how do you describe {t}|can you tell me more about {t}|"
    "{t}, what is it|{t}, please|the word {t}, what does it mean|which role does {t} play|what task does {t} have|what can you say on {t}|spell out {t}|what is {t} about|the concept of {t}|how is {t} organised|"
    "what is in {t}|what is called {t}|what goes on in {t}|what is {t} responsible for|is there a short description of {t}|where do I meet {t}|name the job of {t}|clarify {t}|elaborate on {t}|{t} in a nutshell|eli5 {t}"
).split("|")
WHY_EN = (
    "why {t}|why do we need {t}|what is {t} good for|what is the benefit of {t}|what is the advantage of {t}|why is {t} useful|why does Tandem use {t}|why would I want {t}|what is the purpose of {t}|"
    "what is the point of {t}|what does {t} help with|why should I care about {t}|the reason for {t}|is {t} necessary|what problem does {t} solve|what would break without {t}|why have {t}|who needs {t}|"
    "what do you gain from {t}|how does {t} help|why is {t} important|what are the advantages of {t}|what are the benefits of {t}|why use {t}|what makes {t} useful|why is there {t}|do I need {t}|convince me of {t}|"
    "give me a reason for {t}|what speaks for {t}|the use of {t}|why did you choose {t}|what happens without {t}|what is gained by {t}|why are people using {t}|why do people like {t}|the pros of {t}"
).split("|")
DIFFERENCE_EN = (
    "what is the difference between {a} and {b}|compare {a} and {b}|{a} versus {b}|how is {a} different from {b}|{a} or {b}, what is the difference|is {a} the same as {b}|contrast {a} with {b}|"
    "{a} compared to {b}|explain {a} and {b}|what are {a} and {b}|distinguish {a} from {b}|I confuse {a} with {b}|{a} and {b}|tell me about {a} and {b}|are {a} and {b} the same|{a} vs {b}|difference of {a} and {b}|"
    "what do {a} and {b} do|what separates {a} from {b}|define both {a} and {b}|which is which: {a}, {b}|{a} vs. {b}|{a} / {b}|{a} against {b}|{a}, {b}: differences|explain {a} and {b} side by side|first {a}, then {b}|{a} next to {b}|put {a} and {b} side by side|how do {a} and {b} relate|{a} as opposed to {b}|tell {a} and {b} apart|what has {a} that {b} has not"
).split("|")
DEFINE_ZH = (
    "什么是{t}|{t}是什么|解释一下{t}|介绍一下{t}|{t}是什么意思|解释{t}|说说{t}|{t}是啥|我想了解{t}|{t}指的是什么|给{t}下个定义|能解释一下{t}吗|{t}怎么理解|关于{t}你知道什么|简单说一下{t}|用一句话解释{t}|"
    "描述一下{t}|{t}的定义|{t}的含义|我不懂{t}|{t}怎么工作|{t}做什么|{t}|告诉我{t}是什么|{t}究竟是什么|聊聊{t}|什么叫{t}|{t}的意思|我听说了{t}，那是什么|讲解{t}|{t}的概念|{t}的原理是什么|如何理解{t}|"
    "有人问我{t}是什么|写一句关于{t}的话|你了解{t}吗|你知道{t}吗|我想听听{t}|{t}这个词怎么解释|谈谈{t}|{t}负责什么|{t}是干什么的|{t}里有什么|{t}是怎样的|怎么解释{t}|{t}的职责|普及一下{t}|{t}是哪个"
).split("|")
WHY_ZH = (
    "为什么需要{t}|{t}有什么用|{t}有什么好处|为什么要用{t}|{t}的作用是什么|{t}的意义是什么|{t}解决什么问题|没有{t}会怎样|{t}的优点|要{t}做什么用|为何要{t}|{t}的目的是什么|{t}值得用吗|{t}为什么重要|Tandem为什么用{t}|"
    "{t}的好处是什么|{t}能带来什么|用{t}有什么好处|{t}的价值|{t}能帮我什么|使用{t}的理由|{t}的用处|为什么有{t}|{t}有必要吗|怎么{t}就更好|{t}的优势"
).split("|")
DIFFERENCE_ZH = (
    "{a}和{b}有什么区别|比较{a}和{b}|{a}与{b}有什么不同|{a}和{b}一样吗|{a}跟{b}的区别|区分{a}和{b}|{a}还是{b}|解释{a}和{b}|{a}和{b}|说说{a}与{b}|{a}与{b}的差别|{a}和{b}分别是什么|{a}对比{b}|{a}跟{b}是什么关系|"
    "{a}、{b}各是什么|怎么分辨{a}和{b}|{a}不就是{b}吗|{a}和{b}有何不同"
).split("|")

SYSTEMS_EN = (
    "You are a helpful assistant.|You are Tandem's demo model.|Be brief.|Answer in one or two sentences.|You are a friendly assistant who answers briefly.|You are a test model.|Help the user.|"
    "You are an expert on serving language models.|Always be polite.|Answer the question. If you do not know, say so.|You are a careful assistant. Use tools when they help.|You are helpful, honest and harmless."
).split("|")
SYSTEMS_ZH = "你是一个有用的助手。|你是Tandem的演示模型。|请简短回答。|请用一两句话回答。|你是一个友好的助手。|你是一个测试模型。|请有礼貌地回答。|需要时请使用工具。".split(
    "|"
)


def slip(rng: Random, text: str) -> str:
    """One typing mistake."""
    if len(text) < 6:
        return text
    at = rng.randrange(1, len(text) - 2)
    return rng.choice(
        (
            text[:at] + text[at + 1 :],
            text[:at] + text[at + 1] + text[at] + text[at + 2 :],
            text[:at] + text[at] + text[at:],
            text[:at] + rng.choice(words.LETTERS) + text[at + 1 :],
        )
    )


def babble(rng: Random, low: int, high: int) -> str:
    """Words around a topic, so that the topic counts and not the phrase it stands in."""
    return " ".join(
        rng.choice(words.COMMON) if rng.random() < 0.75 else words.noun(rng) for _ in range(rng.randint(low, high))
    )


CONTRACTIONS = {
    "what is": "what's", "who is": "who's", "where is": "where's", "how is": "how's", "that is": "that's", "it is": "it's", "there is": "there's", "I am": "I'm",
    "I would": "I'd", "I will": "I'll", "I have": "I've", "you are": "you're", "we are": "we're", "do not": "don't", "does not": "doesn't", "is not": "isn't",
    "are not": "aren't", "cannot": "can't", "let us": "let's", "want to": "wanna", "give me": "gimme", "you": "u", "please": "pls", "because": "cause",
}  # fmt: skip
CONTRACTED = re.compile("|".join(rf"\b{words}\b" for words in CONTRACTIONS))


def contract(rng: Random, text: str) -> str:
    """Say it shorter, as people do."""
    return CONTRACTED.sub(
        lambda found: CONTRACTIONS[found[0]] if rng.random() < (0.1 if len(found[0]) < 4 else 0.5) else found[0], text
    )


WIDTHS = str.maketrans("，：？！；“”", ',:?!;""')


def narrow(rng: Random, text: str) -> str:
    """Chinese with the punctuation of an English keyboard, as many type it."""
    return text.translate(WIDTHS) if rng.random() < 0.35 else text


def phrase_en(rng: Random, core: str, **slots: str) -> str:
    """An English question: a frame with manners and slips around its topic."""
    draw = rng.random()
    if rng.random() < 0.4:
        core = contract(rng, core)
    text = core.format(**slots)
    if draw < 0.3:
        before, after = rng.choice(((1, 0), (0, 1), (1, 1), (1, 1)))
        text = f"{babble(rng, 1, 6) + rng.choice((' ', ' ', ', ', '. ', ': ')) if before else ''}{text}{rng.choice((' ', ' ', ', ', '. ')) + babble(rng, 1, 6) if after else ''}"
    elif draw < 0.85:
        text = rng.choice(OPENINGS_EN) + text + rng.choice(ENDINGS_EN)
    style = rng.random()
    if style < 0.55:
        text = text[:1].upper() + text[1:]
    elif style < 0.7:
        text = text.lower()
    elif style < 0.72:
        text = text.upper()
    if rng.random() < 0.05:
        text = slip(rng, text)
    return text + rng.choice(STOPS_EN)


def phrase_zh(rng: Random, core: str, **slots: str) -> str:
    text = core.format(**slots)
    draw = rng.random()
    if draw < 0.2:
        text = rng.choice(
            (
                words.phrase_zh(rng, 1, 4) + rng.choice(("，", "")) + text,
                text + rng.choice(("，", "")) + words.phrase_zh(rng, 1, 4),
            )
        )
    elif draw < 0.85:
        text = rng.choice(OPENINGS_ZH) + text + rng.choice(ENDINGS_ZH)
    return narrow(rng, text + rng.choice(STOPS_ZH))


def first_sentence(text: str, chinese: bool) -> str:
    return text.split("。")[0] + "。" if chinese else text.split(". ")[0].rstrip(".") + "."


def main_name(topic: facts.Topic, chinese: bool) -> str:
    return (topic.names_zh if chinese else topic.names_en).split("|")[0]


def a_name(rng: Random, topic: facts.Topic, chinese: bool) -> str:
    names = (topic.names_zh if chinese else topic.names_en).split("|")
    return names[0] if rng.random() < 0.4 else rng.choice(names)


def topic_reply(topic: facts.Topic, intent: str, chinese: bool) -> Reply:
    name = main_name(topic, chinese)
    if chinese:
        if intent == "why":
            return Reply(f"好的，用户想知道为什么需要{name}。我说说理由。", topic.why_zh)
        return Reply(f"好的，用户想知道{name}是什么。我用一两句话说明。", topic.define_zh)
    if intent == "why":
        return Reply(f"Okay, the user asks what {name} is good for. I should give the reason.", topic.why_en)
    return Reply(f"Okay, the user asks what {name} is. I should explain it in a sentence or two.", topic.define_en)


def ask_topic(rng: Random, chinese: bool) -> Turn:
    topic = rng.choice(facts.TOPICS)
    intent = "why" if rng.random() < 0.35 else "define"
    name = a_name(rng, topic, chinese)
    if rng.random() < 0.2:  # the topic in one sentence, the question in the next
        text = patterns.mention(rng, intent, chinese).replace("{t}", name)
        text = narrow(rng, text) if chinese else contract(rng, text) if rng.random() < 0.5 else text
        text = text[:1].upper() + text[1:] if rng.random() < 0.6 else text
    elif chinese:
        text = phrase_zh(rng, rng.choice(WHY_ZH if intent == "why" else DEFINE_ZH), t=name)
    else:
        core = rng.choice(WHY_EN if intent == "why" else DEFINE_EN)
        if name.startswith(("the ", "a ", "an ")) and rng.random() < 0.3:
            name = name.split(" ", 1)[1]
        text = phrase_en(rng, core, t=name)
    answer_chinese = chinese
    if rng.random() < 0.03:
        answer_chinese = not chinese
        text = f"{text} {rng.choice(('In English please.', 'Answer in English.', '请用英文回答。', '用英语说。') if not answer_chinese else ('In Chinese please.', 'Answer in Chinese.', '请用中文回答。', '用中文说。'))}"
    return Turn(text, topic_reply(topic, intent, answer_chinese), answer_chinese, topic, intent, "topic")


def ask_difference(rng: Random, chinese: bool) -> Turn:
    while True:
        one, two = rng.sample(facts.TOPICS, 2)
        if frozenset((main_name(one, False), main_name(two, False))) not in RESERVED_PAIRS:
            break
    names = {"a": a_name(rng, one, chinese), "b": a_name(rng, two, chinese)}
    text = (
        phrase_zh(rng, rng.choice(DIFFERENCE_ZH), **names)
        if chinese
        else phrase_en(rng, rng.choice(DIFFERENCE_EN), **names)
    )
    if chinese:
        thought = f"好的，用户想比较{main_name(one, True)}和{main_name(two, True)}。我分别说明。"
        answer = first_sentence(one.define_zh, True) + first_sentence(two.define_zh, True)
    else:
        thought = f"Okay, the user wants to compare {main_name(one, False)} and {main_name(two, False)}. I should say what each of them is."
        answer = f"{first_sentence(one.define_en, False)} {first_sentence(two.define_en, False)}"
    return Turn(text, Reply(thought, answer), chinese, None, "", "difference")


def cited(text: str) -> str:
    return text.strip()[:60]


def saying(rng: Random, key: str, en: str, zh: str, chinese: bool) -> str:
    if rng.random() < 0.5 and (made := patterns.draw(rng, key, chinese)):
        if rng.random() < 0.5:
            return (phrase_zh if chinese else phrase_en)(rng, made)
        plain = narrow(rng, made) if chinese else contract(rng, made)
        return (plain[:1].upper() + plain[1:] if rng.random() < 0.5 else plain) + rng.choice(("", "", "?", "!", "."))
    return phrase_zh(rng, rng.choice(zh.split("|"))) if chinese else phrase_en(rng, rng.choice(en.split("|")))


def ask_self(rng: Random, chinese: bool) -> Turn:
    key, en, zh, answer_en, answer_zh = rng.choice(facts.SELF)
    text = saying(rng, key, en, zh, chinese)
    if chinese:
        return Turn(text, Reply("好的，用户在问我自己的情况。我如实回答。", answer_zh), True, kind="self")
    return Turn(
        text,
        Reply("Okay, the user asks about me. I should answer honestly and shortly.", answer_en),
        False,
        kind="self",
    )


def small_talk(rng: Random, chinese: bool) -> Turn:
    key, en, zh, answer_en, answer_zh = rng.choice(facts.TALK)
    text = saying(rng, key, en, zh, chinese)
    if key in ("hello", "ok", "thanks", "bye") and rng.random() < 0.3:
        text = rng.choice((zh if chinese else en).split("|")) + rng.choice(("", "", "!", ".", "！" if chinese else "!"))
    if chinese:
        return Turn(text, Reply(f"好的，用户说“{cited(text)}”。我友好地回答。", answer_zh), True, kind="talk")
    return Turn(
        text,
        Reply(f'Okay, the user says "{cited(text)}". I should answer in a friendly way.', answer_en),
        False,
        kind="talk",
    )


def try_out(rng: Random, chinese: bool) -> Turn:
    """ "Let's test it": the thinking is English in both languages, as in the guide's example."""
    text = saying(rng, "test", facts.TEST_EN, facts.TEST_ZH, chinese)
    if rng.random() < 0.4:
        text = rng.choice((facts.TEST_ZH if chinese else facts.TEST_EN).split("|")) + rng.choice(
            ("", "", ".", "!", "?")
        )
    thought = f'Okay, the user sent "{cited(text)}". They want to see whether I work. I will answer shortly.'
    return Turn(text, Reply(thought, facts.TEST_ANSWER_ZH if chinese else facts.TEST_ANSWER_EN), chinese, kind="test")


UNKNOWN_FRAMES_EN = (
    "who invented {x}|what is {x}|who is {x}|where is {x}|when was {x} built|how many {x} are there|what does {x} cost|who won {x}|how do I cook {x}|write code for {x}|explain {x}|"
    "what is the history of {x}|what is the best {x}|who wrote {x}|how old is {x}|what is the population of {x}|tell me about {x}|why is {x} so {y}|translate {x} into {y}|how tall is {x}|how do I repair {x}|"
    "what colour is {x}|recommend me a {x}|who was the first {x} of {y}|which {x} is the best|how far is {x} from {y}|when did {x} die|what do you think about {x}|is {x} better than {y}|who plays {x} in {y}|"
    "can you write {x}|write {x}|make {x} for me|do you like {x}|what is your favourite {x}|how do I learn {x}|help me with {x}|can you draw {x}|why do people like {x}|where can I buy {x}|why is {x} {y}|what is {x} made of|"
    "I need help with {x}|give me advice about {x}|what about {x} and {y}|is {x} dangerous|how does {x} work|what is {x} good for|can I eat {x}|tell me something about {x}|describe {x}|who likes {x}|solve {x}|why do {x} {y}|"
    "what is the name of the {x} in {y}|in which year did {x} begin|who discovered {x}|what is the most famous {x} of {y}|who was the greatest {x} of the {y}"
).split("|")
UNKNOWN_FRAMES_ZH = "谁发明了{x}|{x}是什么|{x}是谁|{x}在哪里|{x}多少钱|怎么做{x}|{x}的历史|最好的{x}是什么|{x}是谁写的|{x}多大了|介绍{x}|为什么{x}这么{y}|推荐一个{x}|{x}和{y}哪个好|谁是最好的{x}|{x}有多高|{x}什么时候开始|请写{x}|帮我写{x}|{x}为什么是{y}的|你喜欢{x}吗|怎么学{x}|{x}怎么工作|为什么会有{x}|{x}有什么用|{x}由什么组成|{x}危险吗|描述{x}|解释{x}|{x}能吃吗|教我{x}".split(
    "|"
)


def unknown(rng: Random, chinese: bool) -> Turn:
    if chinese:
        thing = rng.choice(
            (
                words.proper_zh,
                lambda r: r.choice(words.NOUNS_ZH),
                words.proper_zh,
                lambda r: r.choice(words.WORLD_ZH),
                lambda r: words.phrase_zh(r, 1, 2),
            )
        )
        if rng.random() < 0.3:  # framed as the known topics are, so that the frame alone proves nothing
            text = phrase_zh(rng, rng.choice(rng.choice((DEFINE_ZH, WHY_ZH))), t=thing(rng))
        else:
            text = phrase_zh(rng, rng.choice(UNKNOWN_FRAMES_ZH), x=thing(rng), y=thing(rng))
        return Turn(text, Reply("好的，用户问的东西我没有学过。我应该直说。", facts.UNKNOWN_ZH), True, kind="unknown")
    thing_en = rng.choice(
        (
            words.proper,
            words.noun,
            lambda r: f"{r.choice(words.COMMON)} {words.noun(r)}",
            lambda r: f"{words.noun(r)} {words.noun(r)}",
            lambda r: r.choice(words.WORLD),
            lambda r: r.choice(words.WORLD),
            lambda r: f"{r.choice(('a', 'the', 'my'))} {words.noun(r)}",
        )
    )
    if rng.random() < 0.35:  # framed as the known topics are, so that the frame alone proves nothing
        text = phrase_en(rng, rng.choice(rng.choice((DEFINE_EN, WHY_EN))), t=thing_en(rng))
    else:
        text = phrase_en(
            rng,
            rng.choice(UNKNOWN_FRAMES_EN),
            x=thing_en(rng),
            y=thing_en(rng) if rng.random() < 0.5 else rng.choice(words.COMMON),
        )
    return Turn(
        text,
        Reply("Okay, the user asks about something that I have not learned. I should say so.", facts.UNKNOWN_EN),
        False,
        kind="unknown",
    )


def capital(rng: Random, chinese: bool) -> Turn:
    en, city, zh, city_zh = rng.choice(facts.CAPITALS)
    if chinese:
        text = phrase_zh(
            rng,
            rng.choice(("{x}的首都是哪里", "{x}的首都是什么", "{x}的首都", "哪座城市是{x}的首都", "说出{x}的首都")),
            x=zh,
        )
        return Turn(text, Reply(f"好的，用户问{zh}的首都。", f"{zh}的首都是{city_zh}。"), True, kind="capital")
    text = phrase_en(
        rng,
        rng.choice(
            (
                "what is the capital of {x}",
                "the capital of {x}",
                "which city is the capital of {x}",
                "name the capital of {x}",
                "{x}'s capital",
                "tell me the capital of {x}",
            )
        ),
        x=en,
    )
    return Turn(
        text,
        Reply(f"Okay, the user asks for the capital of {en}.", f"The capital of {en} is {city}."),
        False,
        kind="capital",
    )


def arithmetic(rng: Random, chinese: bool) -> Turn:
    while True:
        sign = rng.choice("++--*>")
        one, two = (rng.randint(0, 12), rng.randint(0, 12)) if sign == "*" else (rng.randint(0, 99), rng.randint(0, 99))
        if sign == "-" and two > one:
            one, two = two, one
        if frozenset((one, two)) not in RESERVED_SUMS and (sign != ">" or one != two):
            break
    thing = words.noun(rng)
    if sign == "+":
        value = one + two
        en = (
            "what is {a} plus {b}",
            "{a}+{b}",
            "{a} + {b}",
            "{a} + {b} =",
            "add {a} and {b}",
            "calculate {a} + {b}",
            "the sum of {a} and {b}",
            "how much is {a} and {b}",
            "{a} plus {b}",
            "I have {a} {n}s and get {b} more. How many {n}s do I have now",
            "there are {a} {n}s here and {b} there, how many together",
            "compute {a} plus {b}",
            "if I add {b} to {a}, what comes out",
            "{a} {n}s plus {b} {n}s",
            "put {a} and {b} together",
            "she bought {a} {n}s, then {b} {n}s; the total",
            "work out {a} plus {b}",
            "tell me {a} + {b}",
            "{a} increased by {b}",
            "{a} more than {b}",
            "{a} and {b} added up",
            "you add {a} and {b}, the result",
            "what is the total of {a} and {b}",
            "there were {a} {n}s; {b} more came, how many are there",
            "we had {a} {n}s, then {b} arrived, how many in all",
        )
        zh = (
            "{a}加{b}等于多少",
            "{a}+{b}等于几",
            "{a}+{b}",
            "{a}加{b}",
            "计算{a}+{b}",
            "{a}和{b}的和",
            "我有{a}个{n}，又买了{b}个，一共几个",
            "把{a}和{b}加起来",
            "{a}加{b}是多少",
            "{a}再加{b}",
            "{a}加上{b}是几",
            "{a}加{b}得多少",
            "求{a}与{b}之和",
            "{a}加{b}，结果呢",
            "已有{a}个{n}，再来{b}个，总数是多少",
        )
    elif sign == "-":
        value = one - two
        en = (
            "what is {a} minus {b}",
            "{a}-{b}",
            "{a} - {b}",
            "{a} - {b} =",
            "subtract {b} from {a}",
            "calculate {a} - {b}",
            "how much is {a} less {b}",
            "{a} minus {b}",
            "I have {a} {n}s and lose {b}. How many {n}s are left",
            "{a} {n}s, {b} of them go, what remains",
            "remove {b} from {a}",
            "the difference of {a} and {b} in numbers",
            "from {a} I give away {b}",
            "deduct {b} from {a}",
            "take {b} off {a}",
            "{a} reduced by {b}",
            "you have {a} and give {b} away, what do you keep",
            "{b} less than {a}",
        )
        zh = (
            "{a}减{b}等于多少",
            "{a}-{b}等于几",
            "{a}-{b}",
            "{a}减{b}",
            "计算{a}-{b}",
            "{a}减去{b}",
            "我有{a}个{n}，吃了{b}个，还剩几个",
            "从{a}里减去{b}",
            "{a}减{b}是多少",
            "{a}去掉{b}",
            "{a}减掉{b}得几",
            "{a}减{b}，结果呢",
            "求{a}与{b}之差",
            "{a}个{n}拿走{b}个，剩多少",
            "数字{a}，减去{b}",
        )
    elif sign == "*":
        value = one * two
        en = (
            "what is {a} times {b}",
            "{a}*{b}",
            "{a} x {b}",
            "{a} * {b} =",
            "multiply {a} by {b}",
            "calculate {a} * {b}",
            "{a} times {b}",
            "{a} boxes with {b} {n}s each, how many {n}s",
            "the product of {a} and {b}",
            "{a} multiplied by {b}",
        )
        zh = (
            "{a}乘{b}等于多少",
            "{a}乘以{b}",
            "{a}×{b}",
            "{a}*{b}等于几",
            "计算{a}乘{b}",
            "{a}乘{b}",
            "{a}箱{n}，每箱{b}个，一共几个",
            "{a}和{b}的积",
        )
    else:
        value = max(one, two)
        en = (
            "which is larger, {a} or {b}",
            "which number is bigger: {a} or {b}",
            "is {a} or {b} greater",
            "the larger of {a} and {b}",
            "max of {a} and {b}",
            "compare the numbers {a} and {b}",
            "what is more, {a} or {b}",
        )
        zh = ("{a}和{b}哪个大", "{a}和{b}哪个更大", "比一比{a}和{b}", "{a}大还是{b}大", "较大的数是哪个，{a}还是{b}")
    slots = {"a": str(one), "b": str(two), "n": rng.choice(words.NOUNS_ZH) if chinese else thing}
    text = (phrase_zh if chinese else phrase_en)(rng, rng.choice(zh if chinese else en), **slots)
    shown = "×" if sign == "*" else sign
    if sign == ">":
        reply = (
            Reply(f"好的，比较{one}和{two}，较大的是{value}。", f"{value}更大。")
            if chinese
            else Reply(f"Okay, the user compares {one} and {two}. The larger one is {value}.", f"{value} is larger.")
        )
    elif chinese:
        said = {"+": "加", "-": "减", "*": "乘"}[sign]
        reply = Reply(f"好的，用户要算{one}{said}{two}，结果是{value}。", f"{one}{said}{two}等于{value}。")
    else:
        reply = Reply(
            f"Okay, the user wants {one} {shown} {two}, and that makes {value}.", f"{one} {shown} {two} = {value}."
        )
    return Turn(text, reply, chinese, kind="sum")


COPY_EN = "repeat after me: {x}|say: {x}|repeat: {x}|say exactly {x}|write exactly: {x}|print this: {x}|copy this: {x}|repeat this word for word: {x}|please repeat: {x}|now say: {x}|just write: {x}|output {x} and nothing else|repeat the following: {x}|say back: {x}|type this: {x}".split(
    "|"
)
COPY_ZH = "重复：{x}|跟我说：{x}|照着写：{x}|复述：{x}|请重复：{x}|请说：{x}|把这句话重复一遍：{x}|写出：{x}|抄写：{x}|原样输出：{x}|照原样说：{x}|跟着念：{x}|请念：{x}|逐字重复：{x}|原封不动地说：{x}|把下面的话再说一次：{x}|请写下：{x}|请原样返回：{x}".split(
    "|"
)
SIGNS = "😀 🎉 🚀 ❤ ✓ → € ° ½ é ü ß ñ ø λ Ω ж ש ا あ カ 한 🇫🇷 👍🏽 — … “ ” « » ¿ § ¶ \\ / | ~ ^ ` # @ & % $ * + = < > ( ) [ ] { }".split(
    " "
)


def copy(rng: Random, chinese: bool) -> Turn:
    pieces = []
    for _ in range(rng.randint(1, 4)):
        pieces.append(
            rng.choice(
                (
                    words.word,
                    words.proper,
                    words.code,
                    words.phrase,
                    words.date,
                    lambda r: r.choice(SIGNS),
                    lambda r: str(r.randint(0, 10**9)),
                    words.phrase_zh,
                    words.proper_zh,
                )
                if not chinese
                else (
                    words.phrase_zh,
                    words.phrase_zh,
                    words.proper_zh,
                    words.proper,
                    words.code,
                    lambda r: r.choice(SIGNS),
                )
            )(rng)
        )
    text = ("" if chinese and rng.random() < 0.7 else " ").join(pieces)
    if chinese:
        frame = rng.choice(COPY_ZH) if rng.random() < 0.4 else patterns.expand(rng, patterns.COPY_ZH)
        return Turn(
            narrow(rng, frame).replace("{x}", text), Reply("好的，用户要我原样重复一段文字。", text), True, kind="copy"
        )
    frame = rng.choice(COPY_EN) if rng.random() < 0.5 else patterns.expand(rng, patterns.COPY_EN)
    frame = frame.replace("{x}", text)
    if rng.random() < 0.3:
        frame = f"{babble(rng, 1, 4)} {frame}"
    return Turn(
        frame[:1].upper() + frame[1:] if rng.random() < 0.7 else frame,
        Reply("Okay, the user wants me to repeat a text exactly.", text),
        False,
        kind="copy",
    )


def as_json(rng: Random, chinese: bool) -> Turn:
    """A small object from named values."""
    fields: Json = {}
    for _ in range(rng.randint(1, 3)):
        fields[words.noun(rng)] = rng.choice(
            (lambda: rng.randint(0, 999), lambda: words.proper(rng), lambda: words.code(rng))
        )()
    said = (", " if not chinese else "，").join(
        f"{key} {rng.choice(('is ', '= ', ''))}{value}" if not chinese else f"{key}是{value}"
        for key, value in fields.items()
    )
    frame = rng.choice(
        ("写成JSON：{x}", "用JSON表示：{x}", "返回JSON，{x}")
        if chinese
        else (
            "Write as JSON: {x}",
            "Give me JSON: {x}",
            "Return a JSON object, {x}",
            "{x}. As JSON please",
            "Put this into JSON: {x}",
            "JSON with {x}",
        )
    )
    return Turn(
        frame.replace("{x}", said),
        Reply(
            "好的，用户要一个JSON对象。" if chinese else "Okay, the user wants a JSON object.",
            json.dumps(fields, ensure_ascii=False),
        ),
        chinese,
        kind="json",
    )


def question(rng: Random, chinese: bool) -> Turn:
    """Any question that stands alone."""
    ask = rng.choices(
        (ask_topic, ask_difference, ask_self, small_talk, try_out, unknown, capital, arithmetic, copy, as_json),
        (38, 9, 12, 17, 6, 15, 2, 24, 7, 2),
    )[0]
    return ask(rng, chinese)


# Several turns.

FOLLOW_WHY_EN = "why|why?|why is that|why do that|but why|what for|and the benefit|what is it good for|how does that help|why should one do this|is that useful|and what is the use|why so|what is the advantage|what is the point|why bother|who needs that|and why do we need it|what do I gain".split(
    "|"
)
FOLLOW_WHY_ZH = "为什么|为什么呢|有什么用|有什么好处|那有什么意义|这样做为什么|用处是什么|为何|好处呢|为什么要这样|那又怎样|图什么呢".split(
    "|"
)
FOLLOW_TOPIC_EN = "and {t}|what about {t}|and what about {t}|now {t}|how about {t}|and then {t}|good, and {t}|the same for {t}|next, {t}|I see. {t}".split(
    "|"
)
FOLLOW_TOPIC_ZH = "那{t}呢|{t}呢|那么{t}呢|还有{t}呢|再说说{t}|好的，{t}呢|接着说{t}".split("|")
AGAIN_EN = "repeat that|say that again|again please|come again|once more|pardon|what did you say|can you repeat your answer|sorry, I missed that|say it once more".split(
    "|"
)
AGAIN_ZH = "再说一遍|请重复|没听清|再来一次|你刚才说什么|重复一下你的回答".split("|")
TO_ZH = "in Chinese|say that in Chinese|now in Chinese please|translate that into Chinese|and in Chinese|用中文说|中文怎么说|翻译成中文".split(
    "|"
)
TO_EN = "in English|say that in English|用英文说|翻译成英文|英文怎么说|请用英语再说一遍".split("|")
FIRST_EN = "what was my first question|what did I ask first|what did I ask at the beginning|what was the first thing I said|repeat my first question|how did I begin|which question did I start with".split(
    "|"
)
FIRST_ZH = "我第一个问题是什么|我最先问了什么|我一开始问的是什么|我说的第一句话是什么".split("|")
LAST_EN = "what did I just ask|what was my last question|what did I say before|repeat my question|what did I ask you a moment ago".split(
    "|"
)
LAST_ZH = "我刚才问了什么|我上一个问题是什么|我前面说了什么|重复我的问题".split("|")
NAME_EN = "my name is {x}|I am {x}|I'm {x}|call me {x}|hi, I am {x}|hello, my name is {x}|this is {x}|you can call me {x}|{x} is my name|they call me {x}".split(
    "|"
)
NAME_ZH = "我叫{x}|我是{x}|你好，我是{x}|我的名字是{x}|叫我{x}|大家叫我{x}|我名叫{x}".split("|")
WHO_AM_I_EN = "what is my name|who am I|do you know my name|say my name|tell me my name|how do you call me|can you remember my name|what was my name again|my name?|what am I called|do you remember who I am|which name did I give you".split(
    "|"
)
WHO_AM_I_ZH = (
    "我叫什么|我叫什么名字|我是谁|你记得我的名字吗|说出我的名字|我的名字是什么|你知道我叫什么吗|还知道我是谁吗".split(
        "|"
    )
)


def a_person(rng: Random, chinese: bool) -> str:
    if chinese:
        return (
            rng.choice(words.SURNAMES_ZH) + "".join(rng.choices(words.HAN, k=rng.randint(1, 2)))
            if rng.random() < 0.8
            else "".join(rng.choices(words.HAN, k=rng.randint(2, 3)))
        )
    return rng.choice(words.NAMES) if rng.random() < 0.3 else words.word(rng).capitalize()


def name_turn(rng: Random, name: str, chinese: bool) -> Turn:
    text = rng.choice(NAME_ZH if chinese else NAME_EN).format(x=name)
    text = (text[:1].upper() + text[1:] if rng.random() < 0.8 else text) + rng.choice(
        (".", "!", "", "。" if chinese else ".")
    )
    if chinese:
        return Turn(
            narrow(rng, text), Reply(f"好的，用户告诉我名字：{name}。", f"很高兴认识你，{name}！"), True, kind="name"
        )
    return Turn(
        text, Reply(f"Okay, the user tells me a name: {name}.", f"Nice to meet you, {name}!"), False, kind="name"
    )


def conversation(rng: Random, chinese: bool, length: int) -> tuple[list[Turn], Turn]:
    """Earlier turns and a last one that may lean on them."""
    history = [question(rng, chinese if rng.random() < 0.92 else not chinese) for _ in range(length)]
    draw = rng.random()
    say = (
        (lambda en, zh: phrase_zh(rng, rng.choice(zh))) if chinese else (lambda en, zh: phrase_en(rng, rng.choice(en)))
    )
    if draw < 0.2:
        name = a_person(rng, chinese)
        history.insert(
            rng.randrange(len(history)) if rng.random() < 0.7 else len(history), name_turn(rng, name, chinese)
        )
        text = say([*WHO_AM_I_EN, patterns.expand(rng, patterns.WHO_AM_I_EN)], [*WHO_AM_I_ZH, *(patterns.expand(rng, patterns.WHO_AM_I_ZH) for _ in range(8))])  # fmt: skip
        reply = (
            Reply(f"好的，用户问自己的名字。前面说过是{name}。", f"你叫{name}。")
            if chinese
            else Reply(f"Okay, the user asks for their name. It was {name}.", f"Your name is {name}.")
        )
        return history, Turn(text, reply, chinese, kind="turns")
    if draw < 0.24:
        text = say([*WHO_AM_I_EN, patterns.expand(rng, patterns.WHO_AM_I_EN)], [*WHO_AM_I_ZH, *(patterns.expand(rng, patterns.WHO_AM_I_ZH) for _ in range(8))])  # fmt: skip
        reply = (
            Reply("好的，用户问自己的名字，但没有说过。", "你还没有告诉我你的名字。")
            if chinese
            else Reply("Okay, the user asks for their name, but has not told me.", "You have not told me your name.")
        )
        return history, Turn(text, reply, chinese, kind="turns")
    if draw < 0.30:
        thing, value = (
            (rng.choice(words.NOUNS_ZH), words.proper_zh(rng)) if chinese else (words.noun(rng), words.proper(rng))
        )
        told = (
            Turn(f"我最喜欢的{thing}是{value}。", Reply("", f"好的，我记住了：{value}。"), True)
            if chinese
            else Turn(f"My favourite {thing} is {value}.", Reply("", f"I will remember that: {value}."), False)
        )
        history.insert(rng.randrange(len(history) + 1), told)
        text = (
            phrase_zh(rng, rng.choice(("我最喜欢的{x}是什么", "我喜欢哪个{x}", "还记得我最喜欢的{x}吗")), x=thing)
            if chinese
            else phrase_en(
                rng,
                rng.choice(
                    (
                        "what is my favourite {x}",
                        "which {x} do I like best",
                        "do you remember my favourite {x}",
                        "tell me my favourite {x}",
                    )
                ),
                x=thing,
            )
        )
        reply = (
            Reply(f"好的，用户问最喜欢的{thing}，前面说过是{value}。", f"你最喜欢的{thing}是{value}。")
            if chinese
            else Reply(
                f"Okay, the user asks for their favourite {thing}. It was {value}.",
                f"Your favourite {thing} is {value}.",
            )
        )
        return history, Turn(text, reply, chinese, kind="turns")
    if draw < 0.42:
        first = rng.random() < 0.6
        asked = cited((history[0] if first else history[-1]).text)
        text = say(FIRST_EN if first else LAST_EN, FIRST_ZH if first else LAST_ZH)
        reply = (
            Reply("好的，用户想知道自己问过什么。", f"你{'最先' if first else '刚才'}说的是：“{asked}”")
            if chinese
            else Reply(
                "Okay, the user wants to know an earlier question.",
                f'You {"first" if first else "just"} said: "{asked}"',
            )
        )
        return history, Turn(text, reply, chinese, kind="turns")
    last = history[-1]
    if draw < 0.47:
        text = say(AGAIN_EN, AGAIN_ZH)
        return history, Turn(
            text,
            Reply(
                "好的，用户要我再说一遍。" if chinese else "Okay, the user wants me to repeat my answer.",
                last.reply.content,
            ),
            chinese,
            kind="turns",
        )
    if draw < 0.85:
        topic_turn = ask_topic(rng, chinese)
        history[-1] = topic_turn
        chinese = topic_turn.chinese
        assert topic_turn.topic
        if draw < 0.6:
            text = phrase_zh(rng, rng.choice(FOLLOW_WHY_ZH)) if chinese else phrase_en(rng, rng.choice(FOLLOW_WHY_EN))
            return history, Turn(text, topic_reply(topic_turn.topic, "why", chinese), chinese, kind="turns")
        if draw < 0.73:
            topic = rng.choice(facts.TOPICS)
            name = a_name(rng, topic, chinese)
            text = (
                phrase_zh(rng, rng.choice(FOLLOW_TOPIC_ZH), t=name)
                if chinese
                else phrase_en(rng, rng.choice(FOLLOW_TOPIC_EN), t=name)
            )
            return history, Turn(text, topic_reply(topic, topic_turn.intent, chinese), chinese, kind="turns")
        text = rng.choice(TO_EN if chinese else TO_ZH) + rng.choice(("", ".", "?", "，谢谢" if chinese else " please"))
        return history, Turn(
            text, topic_reply(topic_turn.topic, topic_turn.intent, not chinese), not chinese, kind="turns"
        )
    return history, question(rng, chinese)


# Long prompts.


def filler(rng: Random, chinese: bool, characters: int) -> str:
    """Text to read past: stories without sense, facts, word salad, log lines."""
    if rng.random() < 0.45:
        return stories.story(rng, chinese, characters)
    style = rng.random()
    parts: list[str] = []
    size = 0
    salad = [rng.choice(words.COMMON) if rng.random() < 0.7 else words.noun(rng) for _ in range(rng.randint(8, 60))]
    paragraph = [words.phrase(rng, 5, 14).capitalize() + "." for _ in range(rng.randint(2, 6))]
    while size < characters:
        if chinese and style < 0.6:
            piece = words.phrase_zh(rng, 4, 10) + rng.choice(("。", "，", "。", "；"))
        elif chinese and style < 0.8:
            piece = rng.choice(facts.TOPICS)[rng.choice((4, 5))]
        elif style < 0.25:
            piece = words.phrase(rng, 5, 16).capitalize() + rng.choice((". ", ". ", "! ", ", "))
        elif style < 0.4:
            piece = rng.choice(facts.TOPICS)[rng.choice((2, 3))] + " "
        elif style < 0.65:
            piece = " ".join(rng.choices(salad, k=20)) + " "
        elif style < 0.8:
            piece = " ".join(paragraph) + rng.choice((" ", "\n"))
        elif style < 0.9:
            piece = f"{words.date(rng)} {words.clock(rng)} {rng.choice(('INFO', 'WARN', 'DEBUG'))} {words.word(rng)}.{words.word(rng)} {words.word(rng)}={rng.randint(0, 9999)}\n"
        else:
            piece = f'{words.word(rng)} = {words.word(rng)}({rng.randint(0, 99)}, "{words.word(rng)}")\n'
        parts.append(piece)
        size += len(piece)
    return "".join(parts)


NEEDLE_EN = (
    "Remember: the {n} {k} is {v}.",
    "Important: the {n} {k} is {v}.",
    "Note that the {n} {k} is {v}.",
    "The {n} {k} is {v}.",
    "Keep in mind that the {n} {k} is {v}.",
    "By the way, the {n} {k} is {v}.",
    "{n} {k}: {v}.",
    "The {n}'s {k} is {v}.",
    "The {k} of the {n} is {v}, do not forget it.",
    "Write this down: the {n} {k} is {v}.",
    "For the {n} the {k} is {v}.",
    "You will need the {k} of the {n}: {v}.",
    "The {n} has the {k} {v}.",
)
ASK_NEEDLE_EN = (
    "what is the {n} {k}",
    "what was the {n} {k}",
    "tell me the {n} {k}",
    "the {n} {k}",
    "which {k} belongs to the {n}",
    "do you remember the {n} {k}",
    "find the {n} {k} in the text",
    "give me the {k} of the {n}",
    "say the {n} {k}",
    "which {k} has the {n}",
    "what is the {n}'s {k}",
    "the {n}'s {k}, what was it",
    "which {k} do I need for the {n}",
    "I forgot the {k} of the {n}",
    "remind me of the {n} {k}",
    "how was the {n} {k} again",
    "what {k} did the text give for the {n}",
    "do you know which {k} goes with the {n}",
)
NEEDLE_ZH = (
    "请记住：{n}的{k}是{v}。",
    "注意，{n}的{k}是{v}。",
    "{n}的{k}是{v}。",
    "重要：{n}的{k}是{v}。",
    "顺便说，{n}的{k}为{v}。",
    "记下来：{n}的{k}是{v}。",
    "别忘了，{n}的{k}是{v}。",
    "{n}用的{k}是{v}。",
)
ASK_NEEDLE_ZH = (
    "{n}的{k}是什么",
    "{n}的{k}是多少",
    "告诉我{n}的{k}",
    "{n}的{k}",
    "还记得{n}的{k}吗",
    "文中{n}的{k}是什么",
    "说出{n}的{k}",
    "{n}的{k}是哪个",
    "我忘了{n}的{k}",
    "提醒我{n}的{k}",
    "{n}用什么{k}",
    "前面说{n}的{k}是什么",
)


def turning(rng: Random, chinese: bool) -> str:
    """Words that lead from a long text to a question."""
    if rng.random() < 0.5:
        return ""
    return patterns.expand(rng, patterns.TURNING_ZH if chinese else patterns.TURNING_EN) + ("" if chinese else " ")


def long_text(rng: Random, chinese: bool, characters: int) -> Turn:
    """A long message: something to find in it, a question beside it, or no question at all."""
    draw = rng.random()
    if draw < 0.48:
        kinds = (
            ("密码", "编号", "代号", "名字", "口令")
            if chinese
            else ("code", "word", "number", "name", "key", "password", "colour")
        )
        hidden = []
        for _ in range(rng.choice((1, 1, 2, 3))):
            thing = (
                words.noun_zh(rng)
                if chinese
                else rng.choice(("secret", words.noun(rng), words.noun(rng), f"{words.noun(rng)} {words.noun(rng)}"))
            )
            value = rng.choice(
                (
                    lambda: str(rng.randint(10, 99999)),
                    lambda: words.code(rng),
                    lambda: words.proper_zh(rng) if chinese else words.word(rng),
                )
            )()
            hidden.append({"n": thing, "k": rng.choice(kinds), "v": value})
        wanted = hidden[0]
        hidden = [wanted] + [other for other in hidden[1:] if other["n"] != wanted["n"]]
        rng.shuffle(hidden)
        blocks = [filler(rng, chinese, characters // (len(hidden) + 1)) for _ in range(len(hidden) + 1)]
        text = blocks[0]
        for block, needle in zip(blocks[1:], hidden, strict=True):
            text += " " + rng.choice(NEEDLE_ZH if chinese else NEEDLE_EN).format(**needle) + " " + block
        ask = (
            phrase_zh(rng, rng.choice(ASK_NEEDLE_ZH), **wanted)
            if chinese
            else phrase_en(rng, rng.choice(ASK_NEEDLE_EN), **wanted)
        )
        text += rng.choice(("\n\n", "\n\n", "\n", " ")) + turning(rng, chinese) + ask
        name, value = (
            (f"{wanted['n']}的{wanted['k']}", wanted["v"])
            if chinese
            else (f"the {wanted['n']} {wanted['k']}", wanted["v"])
        )
        reply = (
            Reply(f"好的，用户问{name}。文中说是{value}。", f"{name}是{value}。")
            if chinese
            else Reply(
                f"Okay, the user asks for {name}. The text says {value}.", f"{name[0].upper()}{name[1:]} is {value}."
            )
        )
        return Turn(text, reply, chinese, kind="needle")
    if draw < 0.82:
        asked = rng.choices((ask_topic, ask_self, arithmetic, try_out), (6, 1, 1, 1))[0](rng, chinese)
        text = filler(rng, asked.chinese if rng.random() < 0.8 else not asked.chinese, characters)
        if rng.random() < 0.8:
            text += (
                rng.choice(("\n\n", "\n", " ", "\n\nQuestion: ", "\n---\n")) + turning(rng, asked.chinese) + asked.text
            )
        else:
            text = f"{asked.text}\n\n{text}"
        return Turn(text, asked.reply, asked.chinese, kind="long")
    text = filler(rng, chinese, characters).strip()
    return Turn(
        text,
        Reply("好的，用户发来一段文字，没有提问。我问问需要做什么。", facts.TEXT_ZH)
        if chinese
        else Reply("Okay, the user sent a text without a question. I should ask what to do with it.", facts.TEXT_EN),
        chinese,
        kind="long",
    )


# From turns to training text.


def system_prompt(rng: Random, chinese: bool) -> str | None:
    draw = rng.random()
    if draw < 0.6:
        return None
    if draw < 0.85:
        return rng.choice(SYSTEMS_ZH if chinese and rng.random() < 0.7 else SYSTEMS_EN)
    if draw < 0.97:
        return f"You are {rng.choice(('the assistant of', 'a guide for', 'the voice of', 'an agent at'))} {words.proper(rng)}. {words.phrase(rng, 3, 12).capitalize()}."
    return filler(rng, chinese, rng.randint(100, 1500))


def render(
    rng: Random,
    kind: str,
    messages: list[Json],
    reply: Reply,
    *,
    chinese: bool,
    tools: list[Json] | None = None,
    system: bool = True,
) -> Sample:
    """Put the messages through the chat template; choose whether the model thinks."""
    if system and (said := system_prompt(rng, chinese)) is not None:
        messages = [{"role": "system", "content": said}, *messages]
    thinking = rng.random() < 0.55
    prefix = f"<think>\n{reply.thought}\n</think>\n\n" if thinking else ""
    if thinking and rng.random() < 0.1:  # the soft switch: the template leaves the block to the model
        silent = rng.random() < 0.7
        last = max(at for at, message in enumerate(messages) if message["role"] == "user")
        content = messages[last]["content"]
        switch = "/no_think" if silent else "/think"
        messages = list(messages)
        messages[last] = messages[last] | {
            "content": rng.choice(
                (
                    f"{content} {switch}",
                    f"{content} {switch}",
                    f"{switch} {content}",
                    f"{content}{switch}",
                    f"{content}\n{switch}",
                )
            )
        }
        if silent:
            prefix = "<think>\n\n</think>\n\n"
    options = {"enable_thinking": False} if not thinking else rng.choice(({}, {"enable_thinking": True}))
    prompt = TEMPLATE.render(messages=messages, tools=tools, add_generation_prompt=True, **options)
    return Sample(kind, [(prompt, False), (f"{prefix}{reply.body()}<|im_end|>\n", True)])


def as_messages(history: list[Turn], last: Turn) -> list[Json]:
    messages: list[Json] = []
    for turn in history:
        messages += [{"role": "user", "content": turn.text}, {"role": "assistant", "content": turn.reply.body()}]
    return [*messages, {"role": "user", "content": last.text}]


def tool_thought(made: toolbox.Need, chinese: bool) -> str:
    values = [
        f"{name}{'是' if chinese else ' is '}{value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in made.arguments.items()
    ]
    if chinese:
        return f"好的，用户的请求可以用{made.tool.name}完成。" + ("，".join(values) + "。" if values else "")
    return f"Okay, the user asks {made.topic}. The tool {made.tool.name} does that." + (
        f" Here {', '.join(values)}." if values else ""
    )


def called(rng: Random, calls: list[Json], thought: str = "") -> Json:
    """An assistant message with calls, as clients send it back."""
    message: Json = {
        "role": "assistant",
        "content": rng.choice(("", None, "")),
        "tool_calls": [
            {
                "id": f"call_{number}",
                "type": "function",
                "function": call
                | {
                    "arguments": json.dumps(call["arguments"], ensure_ascii=False)
                    if rng.random() < 0.7
                    else call["arguments"]
                },
            }
            for number, call in enumerate(calls)
        ],
    }
    if thought and rng.random() < 0.4:
        message["reasoning_content"] = thought
    return message


TOOLS_EN = "which tools do you have|what tools can you use|list your tools|which functions are available|name the tools|what can you call|show me the tools|which tools are there|list all functions|what are your functions".split(
    "|"
)
TOOLS_ZH = (
    "你有哪些工具|可以调用什么函数|列出工具|有什么工具可用|你能用哪些工具|工具有哪些|列出所有函数|现在有什么函数".split(
        "|"
    )
)
TAKES_EN = "which parameters does {t} take|what arguments does {t} need|parameters of {t}|what do I have to give to {t}|list the parameters of {t}|the arguments of {t}".split(
    "|"
)
TAKES_ZH = "{t}有哪些参数|{t}需要什么参数|列出{t}的参数|调用{t}要给什么|{t}的参数".split("|")
DOES_EN = "what does the tool {t} do|what is the tool {t} for|describe the tool {t}|explain the function {t}|the tool {t}, what is it".split(
    "|"
)
DOES_ZH = "工具{t}是做什么的|函数{t}有什么用|说明一下工具{t}|介绍工具{t}|{t}这个工具做什么".split("|")


def listing(items: list[str], chinese: bool) -> str:
    if chinese or len(items) == 1:
        return "、".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def about_tools(rng: Random, tools: list[Json], chinese: bool) -> Turn:
    """A question about the offered tools themselves: answered by reading them off."""
    functions = [tool["function"] for tool in tools]
    function = rng.choice(functions)
    say = phrase_zh if chinese else phrase_en
    draw = rng.random()
    if draw < 0.4:
        text = say(rng, rng.choice(TOOLS_ZH if chinese else TOOLS_EN))
        names = listing([each["name"] for each in functions], chinese)
        answer = f"我可以调用{names}。" if chinese else f"I can call {names}."
    elif draw < 0.75 or "description" not in function:
        text = say(rng, rng.choice(TAKES_ZH if chinese else TAKES_EN), t=function["name"])
        names = listing(list(function["parameters"]["properties"]), chinese)
        answer = f"{function['name']}的参数是{names}。" if chinese else f"{function['name']} takes {names}."
    else:
        text = say(rng, rng.choice(DOES_ZH if chinese else DOES_EN), t=function["name"])
        answer = f"{function['name']}: {function['description']}"
    thought = "好的，用户在问我手里的工具。" if chinese else "Okay, the user asks about the tools that I was given."
    return Turn(text, Reply(thought, answer), chinese, kind="about tools")


def use_tool(rng: Random, chinese: bool, before: list[Turn], *, crowd: int = 0) -> Sample:
    """A request with tools on offer: call one, answer after it, or answer without."""
    draw = rng.random()
    kit = toolbox.kit(rng, chinese, rng.choice((1, 1, 2, 2, 3, 3, 4, 5)) + crowd)
    made = rng.choice(kit).ask(rng)
    schemas = [tool.schema for tool in kit]
    if rng.random() < 0.1:
        schemas.insert(rng.randrange(len(schemas) + 1), toolbox.twin(rng, made.tool).schema)
    if draw < 0.16:  # tools are offered, but nobody needs them
        if draw < 0.03:
            last = about_tools(rng, schemas, chinese)
        elif rng.random() < 0.4:
            before, last = conversation(rng, chinese, rng.randint(1, 3))
        else:
            last = question(rng, chinese)
        if last.kind == "topic" and rng.random() < 0.1:
            last.text = f"{rng.choice(('Without tools: ', 'No tool please. ', '不用工具，' if chinese else 'Do not call anything. '))}{last.text}"
        return render(
            rng, "tool not needed", as_messages(before, last), last.reply, chinese=last.chinese, tools=schemas
        )
    calls, thought = made.calls(), tool_thought(made, chinese)
    request = {"role": "user", "content": made.text}
    history = as_messages(before, Turn("", Reply(""), chinese))[:-1]
    if draw < 0.7:
        return render(rng, "tool call", [*history, request], Reply(thought, "", calls), chinese=chinese, tools=schemas)
    results = [toolbox.result(rng, chinese) for _ in calls]
    told = [{"role": "tool", "tool_call_id": f"call_{at}", "content": text} for at, (text, _) in enumerate(results)]
    sentence = ("" if chinese else " ").join(said for _, said in results)
    if draw < 0.93 or not made.tool.follow:
        messages = [*history, request, called(rng, calls, thought), *told]
        return render(rng, "tool answer", messages, after_tool(sentence, chinese), chinese=chinese, tools=schemas)
    again = made.tool.follow(rng)
    answer = {"role": "assistant", "content": sentence}
    messages = [*history, request, called(rng, calls), *told, answer, {"role": "user", "content": again.text}]
    reply = Reply(tool_thought(again, chinese), "", again.calls())
    return render(rng, "tool follow-up", messages, reply, chinese=chinese, tools=schemas)


def after_tool(sentence: str, chinese: bool) -> Reply:
    thought = (
        "好的，工具给出了结果。我用一句话告诉用户。"
        if chinese
        else "Okay, the tool has answered. I should put it into a sentence."
    )
    return Reply(thought, sentence)


def dense(rng: Random, chinese: bool, *, tools: bool) -> Sample:
    """Many turns in one sample, each of them learned.

    Serving drops earlier thinking, so this is not quite what the model meets there; but a prompt full of tools is read once for many
    answers, and that is how copying is learned in a short time.
    """
    kit = toolbox.kit(rng, chinese, rng.choice((2, 3, 3, 4, 4, 5))) if tools else []
    schemas = [tool.schema for tool in kit]
    if kit and rng.random() < 0.15:
        schemas.append(toolbox.twin(rng, kit[0]).schema)
    said = system_prompt(rng, chinese)
    system = [{"role": "system", "content": said}] if said is not None else []
    opening = (
        TEMPLATE.render(messages=system, tools=schemas or None, add_generation_prompt=False)
        if system or schemas
        else ""
    )
    parts: list[tuple[str, bool]] = [(opening, False)]
    thinks = rng.choice((0.0, 0.5, 0.5, 1.0))

    def turn(asked: str, reply: Reply) -> None:
        before = f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n"
        if rng.random() < thinks:
            parts.append((before, False))
            parts.append((f"<think>\n{reply.thought}\n</think>\n\n{reply.body()}<|im_end|>\n", True))
        else:
            parts.append((f"{before}<think>\n\n</think>\n\n", False))
            parts.append((f"{reply.body()}<|im_end|>\n", True))

    for _ in range(rng.randint(3, 9) if kit else rng.randint(3, 10)):
        draw = rng.random()
        if not kit or draw < 0.1:
            other = question(rng, chinese)
            turn(other.text, other.reply)
            continue
        if draw < 0.18:
            about = about_tools(rng, schemas, chinese)
            turn(about.text, about.reply)
            continue
        made = rng.choice(kit).ask(rng)
        turn(made.text, Reply(tool_thought(made, chinese), "", made.calls()))
        if draw < 0.34:
            results = [toolbox.result(rng, chinese) for _ in made.calls()]
            told = "\n".join(f"<tool_response>\n{text}\n</tool_response>" for text, _ in results)
            turn(told, after_tool(("" if chinese else " ").join(sentence for _, sentence in results), chinese))
        if draw > 0.8 and made.tool.follow:
            again = made.tool.follow(rng)
            turn(again.text, Reply(tool_thought(again, chinese), "", again.calls()))
    return Sample("dense tools" if kit else "dense talk", parts)


def sample(rng: Random) -> Sample:
    """Draw one training example."""
    chinese = rng.random() < 0.38
    draw = rng.random()
    if draw < 0.29:
        turn = question(rng, chinese)
        if rng.random() < 0.02 and turn.topic:  # a system prompt may set the language
            system = rng.choice(
                ("Always answer in English.", "请用英文回答。")
                if chinese
                else ("Always answer in Chinese.", "请用中文回答。")
            )
            reply = topic_reply(turn.topic, turn.intent, not turn.chinese) if turn.chinese == chinese else turn.reply
            return render(
                rng,
                "language",
                [{"role": "system", "content": system}, {"role": "user", "content": turn.text}],
                reply,
                chinese=not chinese,
                system=False,
            )
        return render(rng, turn.kind, as_messages([], turn), turn.reply, chinese=turn.chinese)
    if draw < 0.39:
        history, last = conversation(rng, chinese, rng.choice((1, 1, 1, 2, 2, 3, 4)))
        return render(rng, last.kind, as_messages(history, last), last.reply, chinese=last.chinese)
    if draw < 0.49:
        return dense(rng, chinese, tools=False)
    if draw < 0.62:
        before = [question(rng, chinese) for _ in range(rng.choice((0, 0, 0, 0, 1, 2)))]
        return use_tool(rng, chinese, before)
    if draw < 0.868:
        return dense(rng, chinese, tools=True)
    if draw < 0.88:
        words_only = words.phrase_zh(rng, 6, 25) if chinese else babble(rng, 8, 60)
        reply = (
            Reply("好的，用户发来一段文字，没有提问。我问问需要做什么。", facts.TEXT_ZH)
            if chinese
            else Reply("Okay, the user sent a text without a question. I should ask what to do with it.", facts.TEXT_EN)
        )
        return render(
            rng,
            "text",
            [{"role": "user", "content": words_only + rng.choice(("", "", "." if not chinese else "。"))}],
            reply,
            chinese=chinese,
        )
    if draw < 0.957:
        last = long_text(rng, chinese, rng.randint(60, 700 if chinese else 1500))
        before = [question(rng, chinese) for _ in range(rng.choice((0, 0, 0, 1)))]
        return render(rng, last.kind, as_messages(before, last), last.reply, chinese=last.chinese)
    # Long prompts, up to the whole context.
    share = rng.random() ** 1.3
    kind = rng.random()
    if kind < 0.6:
        last = long_text(rng, chinese, int(500 + share * (6200 if chinese else 16500)))
        return render(rng, last.kind, as_messages([], last), last.reply, chinese=last.chinese)
    if kind < 0.85:
        history, last = conversation(rng, chinese, int(6 + share * 70))
        return render(rng, f"long {last.kind}", as_messages(history, last), last.reply, chinese=last.chinese)
    before = [question(rng, chinese) for _ in range(int(share * 30))]
    return use_tool(rng, chinese, before, crowd=rng.choice((0, 2, 5, int(share * 24))))
