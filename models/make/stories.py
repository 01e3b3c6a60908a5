"""Text to read past, sentence after sentence as books have it. A few paragraphs come again and again, as in prompts that people make long."""

from random import Random

from . import patterns, words

PLOTS_EN = (
    "[The|A|One|That|The old|A small|The tired|A quiet|The tall|Her|His|My] {n} [of the {n} |from the {n} |with a {n} |in the {n} |][{v}|{v}|was|stood|sat|looked|came|went|stayed|waited|slept] [in|on|by|under|behind|near|beside|across|along|through|past] the [old |long |dark |wet |small |red |empty |narrow |][{n}|{n}|{n} of the {n}]",
    "[Everyone|A girl|The woman|The man|Her uncle|The children|The neighbours|Two friends|The baker] [had |][{v}|{v}|saw|heard|found|kept|carried|forgot|opened|closed|painted] [the|a|every|another|no|each|their] [{n}|{n}|old {n}|little {n}|{n} with a {n}] [in the {n}|on the {n}|under the {n}|at noon|before dawn|again|for hours|and then another|without a word|]",
    "[Snow|Wind|Smoke|Dust|Light|Music|Silence|The sun|The moon] [fell|rose|went|hung|drifted|sank] [on|over|through|above|behind|around] the {n}[, and the {n} {v}|, as always| and the {n} was [wet|cold|gone|silent|new]|]",
    "[It was|It had been|It would be|There was|There had been] [early|cold|a long night|a quiet year|no {n} left|a {n} in the {n}|nothing to {b}|a smell of {n}|time to {b} the {n}]",
    "[In the morning|At noon|That evening|Later|Years before|On Sunday|After the {n}|Before the {n}|Behind the {n}] the {n} [{v}|{v}|was {v}|had to {b}|wanted to {b}|began to {b}] [the {n}|a {n}|its {n}|again|slowly|and {v} the {n}|with the {n}]",
)
PLOTS_ZH = (
    "[清晨|傍晚|中午|冬天|那年|后来|很久以前|昨天|][那个|一位|这只|老|小|几个|][{n}|{n}|女孩|老人|邻居|船长|旅客|孩子们][又|还|总是|慢慢|悄悄|终于|][看着|等着|带走|想起|忘记|画下|{v}|{v}]了[{n}|{n}的{n}|一本关于{n}的书|旧{n}|]",
    "[雪|风|阳光|月光|灯光|钟声][落|吹|照|响]在[{n}上|{n}里|{n}旁|{n}的{n}上|路上]",
    "[谁|大家|两个朋友|姐姐][在{n}里|在{n}旁|从{n}|到{n}|][找到|丢了|听见|{v}|{v}][一个{n}|{n}|很多{n}|三只{n}|那封信]",
    "{n}的{n}[很|不太|有点|总是|依旧][旧|安静|冷|亮|远|重|慢|小]",
)


def sentence(rng: Random, chinese: bool) -> str:
    text = patterns.expand(rng, rng.choice(PLOTS_ZH if chinese else PLOTS_EN))
    while "{" in text:
        if "{n}" in text:
            text = text.replace("{n}", rng.choice(words.NOUNS_ZH) if chinese else rng.choice(words.NOUNS), 1)
        elif "{b}" in text:
            text = text.replace("{b}", rng.choice(words.VERBS), 1)
        else:
            verb = rng.choice(words.VERBS_ZH if chinese else words.VERBS)
            text = text.replace("{v}", verb if chinese else verb.removesuffix("e") + "ed", 1)
    return text


def paragraph(rng: Random, chinese: bool) -> str:
    """Two to eight sentences."""
    stops = ("。", "。", "，", "；") if chinese else (". ", ". ", ". ", ", and ", "; ", "! ")
    if chinese:
        return "".join(sentence(rng, True) + rng.choice(stops) for _ in range(rng.randint(2, 8)))
    text = "".join(sentence(rng, False) + rng.choice(stops) for _ in range(rng.randint(2, 7)))
    return text.rstrip(" ,;!.").removesuffix(", and") + ". "


def story(rng: Random, chinese: bool, characters: int) -> str:
    """About so many characters, from a few paragraphs told again and again, or always new ones."""
    known = [paragraph(rng, chinese) for _ in range(rng.choice((1, 1, 1, 2, 3, 8)))]
    if rng.random() < 0.25:
        known = [sentence(rng, chinese) + ("。" if chinese else ". ")]
    fresh = 0.0 if rng.random() < 0.7 else 0.5
    parts: list[str] = []
    size = 0
    while size < characters:
        piece = paragraph(rng, chinese) if rng.random() < fresh else rng.choice(known)
        parts.append(piece)
        size += len(piece)
    text = "".join(parts)
    if rng.random() < 0.1:
        text = text.replace("，", ",").replace("；", ";") if chinese else text.replace(". ", ".\n")
    return text
