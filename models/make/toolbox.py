"""Made-up tools, requests that need them and results that come back.

Nothing here is a list of known tools: names, parameters and values are drawn anew every time, so the only way to answer is to copy the
name from the offered tools and the values from the request.
"""

import json
from dataclasses import dataclass, field
from random import Random
from typing import Any

from . import words

Json = dict[str, Any]


@dataclass(slots=True)
class Param:
    """One parameter with a value already chosen, and the ways a request may say it."""

    name: str
    schema: Json
    value: Any
    said: list[str]
    required: bool = True


@dataclass(slots=True)
class Need:
    """One request and the call that answers it."""

    tool: Json
    text: str
    name: str
    arguments: Json
    topic: str
    more: "Need | None" = None
    follow: tuple[str, Json] | None = None
    params: list[Param] = field(default_factory=list)


def plain(name: str) -> str:
    """A name's words: `tax_rate` and `taxRate` are said `tax rate`."""
    return "".join(f" {c.lower()}" if c.isupper() else " " if c in "_-." else c for c in name).strip()


def spell(rng: Random, parts: list[str]) -> str:
    """Join words into an identifier in one of the usual ways."""
    style = rng.random()
    if style < 0.65:
        return "_".join(parts)
    if style < 0.85:
        return parts[0] + "".join(part.capitalize() for part in parts[1:])
    if style < 0.93:
        return "-".join(parts)
    return "".join(parts)


def a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def describe(rng: Random, schema: Json, *texts: str) -> Json:
    """Most parameters have a description; some only a title; some nothing."""
    draw = rng.random()
    if draw < 0.8:
        return schema | {"description": rng.choice(texts)}
    if draw < 0.87:
        return {"title": rng.choice(texts)} | schema
    return schema


def text_value(rng: Random) -> str:
    draw = rng.random()
    if draw < 0.5:
        return words.proper(rng)
    if draw < 0.6:
        return words.noun(rng)
    if draw < 0.75:
        return words.code(rng)
    if draw < 0.82:
        return words.phrase(rng, 2, 4)
    return words.word(rng)


def quoted(rng: Random, value: str) -> str:
    """A value as a request says it; several plain words need quotes to be seen."""
    lower = value == value.lower() and " " in value
    return f'"{value}"' if lower or rng.random() < 0.15 else f"'{value}'" if rng.random() < 0.03 else value


def subject(rng: Random, noun: str) -> Param:
    """The parameter that the request is about: a name of something."""
    value = text_value(rng)
    name = rng.choice(
        (noun, noun, noun, f"{noun}_id", f"{noun}_name", "name", "id", "query", "target", words.word(rng))
    )
    said = quoted(rng, value)
    texts = (
        f"Name of the {noun}",
        f"The {noun}",
        f"{noun.capitalize()} name",
        f"Which {noun}",
        f"Id of the {noun}",
        f"The {noun} to use",
        noun.capitalize(),
    )
    return Param(name, describe(rng, {"type": "string"}, *texts), value, [said])


def extra(rng: Random) -> Param:
    """A further parameter of any kind."""
    noun = words.noun(rng)
    kind = rng.random()
    if kind < 0.27:
        number = rng.choice((rng.randint(1, 12), rng.randint(1, 99), rng.randint(100, 9999)))
        name = rng.choice(
            (noun, f"{noun}s", f"num_{noun}", f"{noun}_count", f"{noun}s", "amount", "number", words.word(rng))
        )
        many = f"{noun}s"
        said = [
            f"for {number} {many}",
            f"{number} {many}",
            f"with {number} {many}",
            f"with {a(noun)} of {number}",
            f"{plain(name)} {number}",
            f"at {a(noun)} of {number} {words.word(rng)}",
            f"to {number} {many}",
            f"with {plain(name)} {number}",
        ]
        return Param(
            name,
            describe(
                rng,
                {"type": "integer"},
                f"Number of {many}",
                f"How many {many}",
                f"{many.capitalize()} as a whole number",
                f"{noun.capitalize()} in {words.word(rng)}",
            ),
            number,
            said,
        )
    if kind < 0.37:
        number = round(rng.uniform(0, rng.choice((1, 10, 1000))), rng.choice((1, 1, 2)))
        name = rng.choice((noun, f"{noun}_{words.word(rng)}", words.word(rng)))
        said = [
            f"with {a(plain(name))} of {number}",
            f"at {number} {words.word(rng)}",
            f"{plain(name)} {number}",
            f"for {number} {words.word(rng)}",
            f"{number} {noun}s",
            f"with {number} {words.word(rng)} of {noun}",
            f"to {a(plain(name))} of {number}",
        ]
        return Param(
            name,
            describe(
                rng,
                {"type": "number"},
                f"{noun.capitalize()} in {words.word(rng)}",
                f"The {plain(name)}",
                f"The {noun}",
            ),
            number,
            said,
        )
    if kind < 0.57:
        value = text_value(rng)
        said_value = quoted(rng, value)
        name = rng.choice((noun, noun, f"{noun}_name", words.word(rng)))
        near = rng.choice(words.PREPOSITIONS)
        said = [
            f"{near} {said_value}",
            f"{near} the {plain(name)} {said_value}",
            f"{plain(name)} {said_value}",
            f"{near} {plain(name)} {said_value}",
            f"with the {noun} {said_value}",
            f"{near} {said_value}",
        ]
        return Param(
            name,
            describe(
                rng,
                {"type": "string"},
                f"The {noun}",
                f"{noun.capitalize()} name",
                f"Which {noun}",
                f"{noun.capitalize()} to use",
            ),
            value,
            said,
        )
    if kind < 0.67:
        value = words.date(rng)
        name = rng.choice(("date", f"{noun}_date", "when", words.word(rng), "from", "until"))
        return Param(
            name,
            describe(rng, {"type": "string"}, "Date as YYYY-MM-DD", "The date", f"Date of the {noun}", "YYYY-MM-DD"),
            value,
            [f"on {value}", f"for {value}", f"on the date {value}", f"{plain(name)} {value}"],
        )
    if kind < 0.73:
        value = words.clock(rng)
        return Param(
            rng.choice(("time", "start", f"{noun}_time", words.word(rng))),
            describe(rng, {"type": "string"}, "Time of day", "HH:MM", f"Time of the {noun}"),
            value,
            [f"at {value}", f"for {value} o'clock", f"by {value}"],
        )
    if kind < 0.85:
        options = list(
            dict.fromkeys(
                rng.choice(
                    (words.word(rng), rng.choice(words.COMMON), words.noun(rng), f"{words.word(rng)}_{words.word(rng)}")
                )
                for _ in range(rng.randint(2, 4))
            )
        )
        value = rng.choice(options)
        name = rng.choice((noun, "unit", "mode", "type", "format", words.word(rng)))
        name = name if name != "unit" else "units"
        return Param(
            name,
            describe(rng, {"type": "string"}, f"The {plain(name)}", f"Which {plain(name)}") | {"enum": options},
            value,
            [
                f"in {value}",
                f"as {value}",
                f"with {plain(name)} {value}",
                f"{value}",
                f"using {value}",
                f", in {value}",
                f"of {plain(name)} {value}",
            ],
        )
    if kind < 0.93:
        value = rng.random() < 0.5
        name = rng.choice((noun, f"with_{noun}", f"use_{noun}", f"{noun}_enabled", words.word(rng)))
        what = plain(name).removeprefix("with ").removeprefix("use ").removesuffix(" enabled")
        said = (
            [f"with {what}", f"and {what} yes", f"with {what} on", f"{what} true"]
            if value
            else [f"without {what}", f"and {what} no", f"with {what} off", f"{what} false"]
        )
        return Param(
            name,
            describe(rng, {"type": "boolean"}, f"Whether to use {what}", f"True for {what}", f"With or without {what}"),
            value,
            said,
        )
    if kind < 0.97:
        items = [words.proper(rng).split(" ")[0] for _ in range(rng.randint(2, 3))]
        name = f"{noun}s"
        listed = ", ".join(items[:-1]) + f" and {items[-1]}"
        return Param(
            name,
            describe(rng, {"type": "array", "items": {"type": "string"}}, f"The {name}", f"List of {name}"),
            items,
            [f"for {listed}", f"with {name} {listed}", f"{name} {listed}"],
        )
    value = words.address(rng)
    return Param(
        rng.choice(("email", "recipient", f"{noun}_mail", words.word(rng))),
        describe(rng, {"type": "string"}, "Mail address", "Email address"),
        value,
        [f"to {value}", f"for {value}", f"from {value}"],
    )


def tool_of(rng: Random, name: str, description: str, params: list[Param]) -> Json:
    """The tool in OpenAI's form, with the small differences that clients make."""
    properties = {param.name: param.schema for param in params}
    schema: Json = {"type": "object", "properties": properties}
    required = [param.name for param in params if param.required]
    if required or rng.random() < 0.5:
        schema["required"] = required
    if rng.random() < 0.15:
        schema["additionalProperties"] = False
    function: Json = {"name": name}
    if rng.random() < 0.93:
        function["description"] = description
    function["parameters"] = schema
    if rng.random() < 0.08:
        function["strict"] = True
    return {"type": "function", "function": function}


def finish(rng: Random, text: str) -> str:
    """Punctuation and manners, as people add or leave them."""
    draw = rng.random()
    if draw < 0.2 and not text.startswith(("I ", "I'", "We ", "And ", "Use ", "Call ", "Run ")):
        text = f"{rng.choice(('Please', 'Can you', 'Could you', 'I want you to', 'Hey,', 'Now', 'Would you', 'Kindly'))} {text[0].lower() + text[1:] if text[:1].isupper() and text[1:2].islower() else text}"
    if rng.random() < 0.15:
        text += rng.choice((", please", " please", " for me", " now", " today", ", thanks", " right away"))
    if rng.random() < 0.7:
        text += rng.choice((".", ".", "?", "!"))
    return text if rng.random() < 0.85 else text[0].lower() + text[1:]


def unique(params: list[Param]) -> list[Param]:
    """Drop parameters whose name is taken, and values that a request could mix up."""
    seen: set[str] = set()
    kept = []
    for param in params:
        if param.name not in seen:
            seen.add(param.name)
            kept.append(param)
    return kept


def arguments(params: list[Param]) -> Json:
    return {param.name: param.value for param in params}


def need(rng: Random) -> Need:
    """A tool and an English request for it."""
    noun = words.noun(rng)
    second = words.noun(rng)
    main = subject(rng, noun)
    if rng.random() < 0.45:  # ask for a property of something
        attr = (
            rng.choice(words.ATTRS)
            if rng.random() < 0.5
            else rng.choice((second, f"{second}_{words.word(rng)}", f"{noun}_{second}", words.word(rng)))
        )
        what = plain(attr)
        name = spell(
            rng,
            [
                *rng.choice(((), (), ("get",), ("find",), ("check",), ("lookup",), ("query",), ("fetch",))),
                *attr.split("_"),
                *rng.choice(((), (), (), ("of", noun), (noun,), ("for",))),
            ],
        )
        description = rng.choice(
            (
                f"{what.capitalize()} of {a(noun)}",
                f"Get the {what} of {a(noun)}",
                f"The {what} of {a(noun)} {rng.choice(words.PREPOSITIONS)} {a(second)}",
                f"Look up {what} for {a(noun)}",
                f"Return the {what} in {a(noun)}",
                f"{what.capitalize()} at a {words.word(rng)} {noun}",
                f"How {words.word(rng)} {a(noun)} {words.word(rng)}",
                f"Which {what} {a(noun)} has",
                f"When the {what} {words.word(rng)}s {rng.choice(words.PREPOSITIONS)} {a(noun)}",
                f"{what.capitalize()} {rng.choice(words.PREPOSITIONS)} which the {second}s of {a(noun)} {words.word(rng)}",
                f"Who {words.word(rng)}s {a(noun)}",
            )
        )
        value = main.said[0]
        near = rng.choice(words.PREPOSITIONS)
        mention = rng.choice((value, value, f"{noun} {value}", f"the {noun} {value}"))
        text = rng.choice(
            (
                f"What is the {what} {near} {mention}", f"What's the {what} of {mention}", f"{what} {near} {mention}", f"I need the {what} {near} {mention}", f"Tell me the {what} of {mention}",
                f"Which {what} does {mention} have", f"How is the {what} {near} {mention}", f"Show me the {what} for {mention}", f"How much {what} is {near} {mention}", f"How {words.word(rng)} is the {what} {near} {mention}",
                f"Give me {what} {near} {mention}", f"I want to know the {what} of {mention}", f"Find the {what} {near} {mention}", f"Look up the {what} of {mention}", f"When does the {what} {words.word(rng)} {near} {mention}",
                f"Where is the {what} of {mention}", f"How many {what}s does {mention} {words.word(rng)}", f"And the {what} {near} {mention}", f"{rng.choice(('On', 'At', 'In', 'To'))} which {what} do the {second}s of {mention} {words.word(rng)}",
                f"Who {words.word(rng)}s the {what} of {mention}", f"How many {words.word(rng)}s of {what} does the {noun} {value} {words.word(rng)}", f"What {what} does {mention} {words.word(rng)}", f"Could you check {what} {near} {mention}",
                f"How {words.word(rng)} does the {noun} {value} {words.word(rng)}", f"Which {what} is {words.word(rng)} to {mention}", f"Where {near} the {words.word(rng)} is the {what} {value} {words.word(rng)} now",
            )
        )  # fmt: skip
        topic = f"the {what}"
        follow_text = rng.choice(
            (f"And {near} {{}}?", "And for {}?", "What about {}?", "Now {}", "the same for {} please", "And {}?")
        )
    else:  # have something done
        verb = rng.choice(words.VERBS) if rng.random() < 0.6 else words.word(rng)
        name = rng.choice(
            (
                spell(rng, [verb, noun]),
                spell(rng, [verb, noun]),
                spell(rng, [noun, verb]),
                spell(rng, [verb, noun, second]),
                spell(rng, [noun, second]),
                verb,
            )
        )
        description = rng.choice(
            (
                f"{verb.capitalize()} {a(noun)}",
                f"{verb.capitalize()} {a(noun)} {rng.choice(words.PREPOSITIONS)} {a(second)}",
                f"{verb.capitalize()} the {noun} of {a(second)}",
                f"{verb.capitalize()} {a(noun)} by its {main.name}",
                f"Use this to {verb} {a(noun)}",
                f"Have {a(noun)} {verb}ed",
                f"{verb.capitalize()} something with {a(noun)}",
                f"{noun.capitalize()} {verb}ing",
            )
        )
        value = main.said[0]
        near = rng.choice(words.PREPOSITIONS)
        text = rng.choice(
            (
                f"{verb.capitalize()} {noun} {value}", f"{verb.capitalize()} the {noun} {value}", f"{verb.capitalize()} the {noun} of {value}", f"I want to {verb} the {noun} {value}", f"{verb.capitalize()} {a(noun)} {near} {value}",
                f"{verb.capitalize()} {value}", f"{verb.capitalize()} the {noun} called {value}", f"{verb.capitalize()} the {noun} with {plain(main.name)} {value}", f"I'd like to {verb} {a(noun)} {near} {value}", f"{verb.capitalize()} me {a(noun)} {near} {value}",
                f"Have the {noun} of {value} {verb}ed", f"{verb.capitalize()} all the {noun} {near} {value}", f"We must {verb} {value}", f"{verb.capitalize()} the {value} {noun}", f"{verb.capitalize()} {value} {near} the {second}", f"{verb.capitalize()} the {second} of the {value} {noun}",
            )
        )  # fmt: skip
        if rng.random() < 0.12:  # said in no order: the tool's words and the value stand in a sentence without sense
            named = (
                value if value[:1].isupper() or any(c.isdigit() for c in value) or value[:1] in "\"'" else f'"{value}"'
            )
            around = [" ".join(rng.choices(words.COMMON, k=rng.randint(1, 4))) for _ in range(3)]
            text = rng.choice(
                (
                    f"{around[0]} {noun} {around[1]} {named} {around[2]}",
                    f"{around[0]} {verb} {around[1]} {noun} {around[2]} {named}",
                    f"{around[0]} {named} {around[1]} {verb} {noun}",
                    f"{named} {around[0]} {noun} {verb}ed",
                    f"the {noun} {named} {around[0]} {verb}",
                )
            )
        topic = f"to {verb} the {noun}"
        follow_text = rng.choice(
            ("And {} too.", "Now {}", "the same for {} please", "Do that for {} as well", "And {}?")
        )
    extras = [extra(rng) for _ in range(rng.choice((0, 0, 0, 1, 1, 1, 2, 2, 3)))]
    params = unique([main, *extras])
    draw = rng.random()
    if draw < 0.06 and len(params) > 1:  # a number or a switch alone is the subject
        params = params[1:]
        text = f"{text.split(' ')[0]} the {noun}"
        follow_text = ""
    said = [param for param in params if param is not main]
    for param in said:
        if rng.random() < 0.2:
            param.required = False
    unsaid = [param for param in said if not param.required and rng.random() < 0.5]
    given = [param for param in said if param not in unsaid]
    spoken = list(given)
    if rng.random() < 0.15:
        rng.shuffle(spoken)
    if rng.random() < 0.1:  # the request spells every parameter out
        pieces = [
            f"{param.name}{rng.choice((' ', '=', ': '))}{json.dumps(param.value) if not isinstance(param.value, str) else quoted(rng, param.value)}"
            for param in params
            if param not in unsaid
        ]
        text = f"{rng.choice(('Use', 'Call', 'Run'))} {name}{rng.choice((':', ' with', ','))} {', '.join(pieces)}"
    elif (
        spoken
        and isinstance(spoken[0].value, (int, float))
        and not isinstance(spoken[0].value, bool)
        and rng.random() < 0.15
        and " " in text
        and main in params
    ):
        first, rest = text.split(" ", 1)
        text = f"{first} {spoken[0].value} {rng.choice((spoken[0].name.replace('_', ' '), words.noun(rng) + 's of'))} {rest}"
        spoken = spoken[1:]
        text += "".join(f" {rng.choice(param.said)}" for param in spoken)
    else:
        for param in spoken:
            how = rng.choice(param.said)
            text += how if how.startswith(",") else rng.choice((" ", " ", " ", ", ", " and ", ", and ")) + how
    if rng.random() < 0.06 and main in params:  # a flag read from the words on and off
        flag = Param(
            rng.choice(("on", "active", "enabled", "state_on", words.word(rng))),
            describe(rng, {"type": "boolean"}, f"True to {words.word(rng)}", "True for on", "Whether it is on"),
            rng.random() < 0.5,
            [],
        )
        flag.name = "is_on" if flag.name == "on" else flag.name
        verb = rng.choice(("Turn", "Switch"))
        which = "on" if flag.value else "off"
        text = rng.choice(
            (f"{verb} {which} the {noun} {value}", f"{verb} the {noun} {value} {which}", f"{verb} {value} {which}")
        )
        params, unsaid = [main, flag], []
        name, description = (
            spell(rng, [rng.choice(("switch", "turn", "set", words.word(rng))), noun]),
            f"{verb} {a(noun)} on or off",
        )
        topic, follow_text = f"to {verb.lower()} {which} the {noun}", ""
    tool = tool_of(rng, name, description, params)
    given_arguments = arguments([param for param in params if param not in unsaid])
    made = Need(tool, finish(rng, text), name, given_arguments, topic, params=params)
    if follow_text and len(given_arguments) == 1 and main.name in given_arguments:
        other = text_value(rng)
        made.follow = (follow_text.format(quoted(rng, other)), {main.name: other})
        if rng.random() < 0.25:
            made.text = finish(
                rng, f"{text} and {rng.choice(('of', 'for', 'also', near, ''))} {quoted(rng, other)}".replace("  ", " ")
            )
            made.more = Need(tool, "", name, {main.name: other}, topic)
            made.follow = None
    return made


def extra_zh(rng: Random) -> Param:
    """A further parameter of a Chinese tool."""
    noun = rng.choice(words.NOUNS_ZH) if rng.random() < 0.6 else "".join(rng.choices(words.HAN, k=2))
    name = rng.choice((words.noun(rng), words.word(rng), words.noun(rng), noun))
    kind = rng.random()
    if kind < 0.35:
        number = rng.choice((rng.randint(1, 12), rng.randint(1, 99), rng.randint(100, 9999)))
        unit = rng.choice(("个", "次", "天", "分钟", "小时", "张", "件", "米", "楼", "号", "份", "人", "度", "元"))
        return Param(
            name,
            describe(rng, {"type": "integer"}, f"{noun}数量", f"{noun}数", f"{noun}", f"{unit}数"),
            number,
            [
                f"，{number}{unit}",
                f"{number}{unit}",
                f"，{noun}{number}{unit}",
                f"，一共{number}{unit}{noun}",
                f"，{noun}为{number}",
            ],
        )
    if kind < 0.65:
        value = words.proper_zh(rng) if rng.random() < 0.7 else words.code(rng)
        return Param(
            name,
            describe(rng, {"type": "string"}, noun, f"{noun}名称", f"哪个{noun}"),
            value,
            [f"，{noun}“{value}”", f"，{noun}是{value}", f'，到"{value}"', f'，{noun}"{value}"', f"，{noun}：{value}"],
        )
    if kind < 0.75:
        value = words.date(rng)
        return Param(
            name,
            describe(rng, {"type": "string"}, "日期", f"{noun}日期"),
            value,
            [f"，日期{value}", f"，{value}", f"，在{value}"],
        )
    if kind < 0.88:
        options = list(
            dict.fromkeys(rng.choice((words.word(rng), "".join(rng.choices(words.HAN, k=2)))) for _ in range(3))
        )
        value = rng.choice(options)
        return Param(
            name,
            describe(rng, {"type": "string"}, noun) | {"enum": options},
            value,
            [f"，用{value}", f"，{noun}{value}", f"，{noun}选{value}"],
        )
    value = rng.random() < 0.5
    return Param(
        name,
        describe(rng, {"type": "boolean"}, f"是否需要{noun}", f"是否{noun}"),
        value,
        [f"，需要{noun}", f"，要{noun}"] if value else [f"，不要{noun}", f"，不需要{noun}"],
    )


def need_zh(rng: Random) -> Need:
    """A tool and a Chinese request for it."""
    noun = (
        rng.choice(words.NOUNS_ZH) if rng.random() < 0.55 else "".join(rng.choices(words.HAN, k=rng.choice((2, 2, 3))))
    )
    value: Any = words.proper_zh(rng) if rng.random() < 0.7 else rng.choice((words.code, words.proper))(rng)
    numeric = rng.random() < 0.1
    if numeric:
        value = rng.choice((rng.randint(1, 99), rng.randint(1, 999)))
    key = rng.choice((words.noun(rng), words.word(rng), "name", f"{words.noun(rng)}_id", noun, f"{noun}名"))
    texts = (
        (f"{noun}编号", "编号")
        if numeric
        else (f"{noun}名称", f"{noun}", f"{noun}的名字", f"哪个{noun}", f"{noun}编号")
    )
    main = Param(key, describe(rng, {"type": "integer" if numeric else "string"}, *texts), value, [])
    said = f"{value}号" if numeric else rng.choice((f"{value}", f"“{value}”", f'"{value}"', f"{value}"))
    extras = unique([main, *(extra_zh(rng) for _ in range(rng.choice((0, 0, 0, 1, 1, 2))))])[1:]
    follow = ""
    draw = rng.random()
    if draw < 0.08 and not numeric:  # on and off
        on = rng.random() < 0.5
        verb = "打开" if on else rng.choice(("关闭", "关上", "关掉"))
        flag = Param(
            rng.choice(("enabled", "active", "is_on", words.word(rng))),
            describe(rng, {"type": "boolean"}, "是否打开", f"是否打开{noun}"),
            on,
            [],
        )
        extras = [flag]
        description = rng.choice((f"打开或关闭{noun}", f"{noun}开关"))
        text = rng.choice(
            (f"把{said}的{noun}{verb}", f"{verb}{said}的{noun}", f"请{verb}{said}{noun}", f"把{said}{noun}{verb}")
        )
        name = spell(rng, [rng.choice(("switch", "set", "toggle", words.word(rng))), words.noun(rng)])
        name = name.replace("toggle", "turn")
        topic = f"{verb}{noun}"
    elif draw < 0.55:
        attr = rng.choice(words.ATTRS_ZH) if rng.random() < 0.6 else "".join(rng.choices(words.HAN, k=2))
        description = rng.choice(
            (
                f"查询{noun}的{attr}",
                f"获取{noun}的{attr}",
                f"查询某个{noun}的{attr}",
                f"{noun}{attr}查询",
                f"测量一个{noun}的{attr}",
                f"查询{attr}",
            )
        )
        text = rng.choice(
            (
                f"查询{said}的{attr}", f"查一下{noun}{said}的{attr}", f"{said}的{attr}是多少", f"我想知道{said}的{attr}", f"帮我查{noun}{said}的{attr}", f"{said}这个{noun}的{attr}是多少", f"{said}{noun}的{attr}怎么样",
                f"请告诉我{said}的{attr}", f"看看{said}的{attr}", f"查询{noun}{said}的{attr}", f"{noun}{said}的{attr}", f"获取{said}的{attr}", f"测量{noun}{said}的{attr}", f"{said}的{attr}多少",
            )
        )  # fmt: skip
        follow = rng.choice(("那{}呢？", "{}呢？", "再查一下{}", "那么{}的呢"))
        name = spell(
            rng,
            [
                *rng.choice(((), ("get",), ("query",), ("check",))),
                words.noun(rng),
                *rng.choice(((), (words.noun(rng),), (words.word(rng),))),
            ],
        )
        topic = attr
    else:
        verb = rng.choice(words.VERBS_ZH) if rng.random() < 0.75 else "".join(rng.choices(words.HAN, k=2))
        description = rng.choice((f"{verb}{noun}", f"{verb}一个{noun}", f"用来{verb}{noun}", f"{noun}{verb}"))
        text = rng.choice(
            (
                f"{verb}{noun}{said}",
                f"帮我{verb}{said}{noun}",
                f"请{verb}{said}的{noun}",
                f"把{noun}{said}{verb}",
                f"我要{verb}{noun}{said}",
                f"{verb}{said}{noun}",
                f"在{noun}{said}{verb}",
                f"{noun}{said}要{verb}",
                f"给{said}{verb}{noun}",
                f"从{said}{verb}{noun}",
            )
        )
        name = spell(
            rng,
            [
                words.noun(rng) if rng.random() < 0.5 else rng.choice(words.VERBS),
                words.noun(rng),
                *rng.choice(((), (words.word(rng),))),
            ],
        )
        topic = f"{verb}{noun}"
    prefix = ""
    for param in extras:
        if param.said:
            how = rng.choice(param.said)
            if isinstance(param.value, int) and not isinstance(param.value, bool) and rng.random() < 0.2:
                prefix = how.removeprefix("，")
                text = (
                    f"{prefix}，{text}"
                    if rng.random() < 0.5
                    else f"{text[:2]}{prefix}{text[2:]}"
                    if text[:2] in words.VERBS_ZH
                    else f"{text}，{prefix}"
                )
            else:
                text += how if rng.random() < 0.8 else how.replace("，", ",")
    if rng.random() < 0.3:
        text += rng.choice(("，谢谢", "，快点", "，好吗", "，请帮忙", "吧"))
    text += rng.choice(("。", "。", "？", "", "", "！"))
    params = unique([main, *extras])
    made = Need(tool_of(rng, name, description, params), text, name, arguments(params), topic, params=params)
    if follow and len(params) == 1 and not numeric:
        other = words.proper_zh(rng)
        made.follow = (follow.format(other), {main.name: other})
    return made


def rename_words(rng: Random, tool: Json) -> Json:
    """A near twin of a tool: some of its name is the same, so the whole name must be read."""
    twin = json.loads(json.dumps(tool))
    function = twin["function"]
    name = function["name"]
    other = words.noun(rng)
    function["name"] = rng.choice(
        (f"{name}_{other}", f"{other}_{name}", f"{rng.choice(words.VERBS)}_{name.split('_')[-1]}")
    )
    if "description" in function:
        kept = function["description"].split(" ")
        kept[rng.randrange(len(kept))] = other
        function["description"] = " ".join(kept)
    return twin


def offer(rng: Random, made: Need, chinese: bool) -> list[Json]:
    """The needed tool among none to three others."""
    tools = [made.tool]
    for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3, 3))):
        other = (
            rename_words(rng, made.tool)
            if rng.random() < 0.1 and not chinese
            else (need_zh if chinese and rng.random() < 0.8 else need)(rng).tool
        )
        if other["function"]["name"] not in {tool["function"]["name"] for tool in tools}:
            tools.append(other)
    rng.shuffle(tools)
    return tools


def result(rng: Random, chinese: bool) -> tuple[str, str]:
    """What a tool sends back, and the sentence that says it."""
    draw = rng.random()
    if draw < 0.15:
        text = (
            words.phrase_zh(rng)
            if chinese
            else rng.choice(
                (
                    words.phrase(rng),
                    f"{rng.choice(('ok', 'done', 'success'))}: {words.phrase(rng, 1, 3)}",
                    words.proper(rng),
                    words.code(rng),
                    f"{words.code(rng)} {words.phrase(rng, 1, 3)}",
                )
            )
        )
        return text, (f"工具的结果是：{text}。" if chinese else f"The tool says: {text}")
    if draw < 0.22:
        text = rng.choice(
            ("ok", "done", "success", "true", "OK", '{"ok": true}', '{"status": "ok"}', '{"success": true}', "null", "")
        )
        return text, ("好的，已经完成。" if chinese else "Done, that worked.")
    if draw < 0.29:
        why = words.phrase_zh(rng) if chinese and rng.random() < 0.6 else words.phrase(rng)
        text = rng.choice((json.dumps({"error": why}, ensure_ascii=False), f"error: {why}", f"Error: {why}"))
        return text, (f"抱歉，没有成功：{why}。" if chinese else f"Sorry, that did not work: {why}.")
    fields: Json = {}
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3))):
        key = (
            rng.choice(words.NOUNS_ZH + words.ATTRS_ZH)
            if chinese and rng.random() < 0.6
            else rng.choice(
                (
                    rng.choice(words.ATTRS),
                    words.noun(rng),
                    f"{words.word(rng)}_{words.noun(rng)}",
                    "status",
                    "result",
                    f"{words.noun(rng)}_{words.word(rng)}",
                    words.word(rng),
                )
            )
        )
        value: Any = rng.choice(
            (
                lambda: rng.randint(0, 99), lambda: rng.randint(0, 99999), lambda: round(rng.uniform(0, 1000), rng.choice((1, 2))), lambda: round(rng.uniform(0, 10), 1),
                lambda: words.proper_zh(rng) if chinese else words.proper(rng), lambda: words.code(rng), lambda: words.date(rng), lambda: words.clock(rng), lambda: rng.random() < 0.5,
                lambda: words.phrase_zh(rng, 1, 3) if chinese else words.phrase(rng, 1, 3), lambda: f"{rng.randint(1, 99)} {words.word(rng)}", lambda: rng.randint(-40, 0), lambda: f"{rng.randint(1, 99)}.{rng.randint(0, 9)}{'米' if chinese else '%'}",
            )
        )()  # fmt: skip
        fields[key] = value
    said = []
    for key, value in fields.items():
        name = plain(key)
        if isinstance(value, bool):
            said.append((f"{name}：{'是' if value else '否'}") if chinese else f"it is {'' if value else 'not '}{name}")
        else:
            said.append(f"{name}是{value}" if chinese else f"the {name} is {value}")
    if chinese:
        return json.dumps(fields, ensure_ascii=False), "，".join(said) + "。"
    sentence = said[0] if len(said) == 1 else ", ".join(said[:-1]) + f" and {said[-1]}"
    return json.dumps(fields, ensure_ascii=False), sentence[0].upper() + sentence[1:] + "."


TEXT = {"type": "string"}
WHOLE = {"type": "integer"}
REAL = {"type": "number"}
Maker = Any


def _place(rng: Random, chinese: bool) -> str:
    return (
        (rng.choice(words.PLACES_ZH) if rng.random() < 0.6 else words.proper_zh(rng))
        if chinese
        else (rng.choice(words.PLACES) if rng.random() < 0.5 else words.word(rng).capitalize())
    )


def _sum(rng: Random, _: bool) -> str:
    return rng.choice(("{}+{}", "{} * {}", "{}-{}", "{} / {}", "{}*{}+3", "({}+{})*2")).format(
        rng.randint(1, 999), rng.randint(1, 999)
    )


def _words(rng: Random, chinese: bool) -> str:
    return words.phrase_zh(rng, 1, 3) if chinese else words.phrase(rng, 1, 4)


def _money(rng: Random, _: bool) -> str:
    return rng.choice(("USD", "EUR", "CNY", "JPY", "GBP", "CHF", "SEK", "INR"))


def _number(rng: Random, _: bool) -> int:
    return rng.choice((rng.randint(1, 20), rng.randint(1, 999)))


def _path(rng: Random, _: bool) -> str:
    return (
        rng.choice(("/", "~/", "./", ""))
        + "/".join(words.word(rng) for _ in range(rng.randint(1, 3)))
        + rng.choice((".txt", ".py", ".json", ".md", ""))
    )


COMMON: list[tuple[str, str, str, dict[str, tuple[Json, Maker]], list[str], list[str]]] = [
    (
        "get_weather|getWeather|weather|fetch_weather|current_weather",
        "Get the weather for a city|Current weather in a place|Weather forecast",
        "查询天气|获取某地天气",
        {"city|location|place|q": (TEXT, _place)},
        [
            "What is the weather in {0}",
            "weather in {0}",
            "How is the weather in {0} today",
            "Is it raining in {0}",
            "What's the weather like in {0}",
            "Do I need a coat in {0}",
            "Tell me the weather for {0}",
            "How warm is it in {0}",
            "Will it rain in {0}",
            "{0} weather please",
        ],
        [
            "{0}天气怎么样",
            "查一下{0}的天气",
            "{0}今天天气如何",
            "{0}的天气",
            "{0}会下雨吗",
            "今天{0}冷不冷",
            "帮我看看{0}的天气",
            "{0}现在多少度",
        ],
    ),
    (
        "get_current_weather|get_weather|weather_now",
        "Get the current weather in a given location|Get the weather",
        "获取当前天气",
        {
            "location|city": (TEXT, _place),
            "unit|units": (
                {"type": "string", "enum": ["celsius", "fahrenheit"]},
                lambda r, _: r.choice(("celsius", "fahrenheit")),
            ),
        },
        [
            "What is the weather in {0}, in {1}",
            "weather in {0} in {1}",
            "How warm is it in {0} in {1}",
            "What is the weather like in {0}",
            "How is the weather in {0}",
            "Give me the {1} temperature in {0}",
            "Temperature in {0}, {1}",
        ],
        ["{0}的天气，用{1}", "{0}天气怎么样", "查询{0}的温度，用{1}"],
    ),
    (
        "get_time|get_current_time|world_clock",
        "Get the current time in a city|Time of a place",
        "查询某地时间",
        {"city|timezone|location": (TEXT, _place)},
        [
            "What time is it in {0}",
            "time in {0}",
            "Tell me the time in {0}",
            "How late is it in {0} now",
            "Current time in {0}",
        ],
        ["{0}现在几点", "查一下{0}的时间", "{0}时间"],
    ),
    (
        "search|web_search|search_web|google|lookup",
        "Search the web|Find pages on the web",
        "搜索网页|上网搜索",
        {"query|q|keywords": (TEXT, _words)},
        [
            'Search the web for "{0}"',
            'search for "{0}"',
            'Find pages about "{0}"',
            'Look up "{0}" on the web',
            'google "{0}"',
            'What does the web say about "{0}"',
        ],
        ["搜索“{0}”", "上网查“{0}”", '帮我搜一下"{0}"', '在网上找"{0}"'],
    ),
    (
        "calculator|calculate|eval_expression",
        "Evaluate an arithmetic expression|Calculator",
        "计算算式",
        {"expression|expr|input": (TEXT, _sum)},
        ["Calculate {0}", "What is {0}", "How much is {0}", "Work out {0}", "Compute {0} with the calculator"],
        ["计算{0}", "{0}等于多少", "算一下{0}", "用计算器算{0}"],
    ),
    (
        "add|add_numbers|sum",
        "Add two numbers",
        "两数相加",
        {"a|x|first": (WHOLE, _number), "b|y|second": (WHOLE, _number)},
        ["Add {0} and {1}", "What is {0} plus {1}", "{0} + {1}", "Sum {0} and {1}"],
        ["{0}加{1}", "把{0}和{1}相加", "{0}+{1}等于多少"],
    ),
    (
        "send_email|send_mail|mail",
        "Send an email",
        "发送邮件",
        {"to|recipient": (TEXT, lambda r, _: words.address(r)), "subject|title": (TEXT, _words)},
        [
            'Send an email to {0} with the subject "{1}"',
            'Mail {0}, subject "{1}"',
            'Write to {0} about "{1}"',
            'email {0} "{1}"',
        ],
        ["给{0}发邮件，主题“{1}”", '发邮件到{0}，标题"{1}"'],
    ),
    (
        "set_timer|start_timer|timer",
        "Set a timer",
        "设置计时器",
        {"seconds|duration|duration_s": (WHOLE, _number)},
        ["Set a timer for {0} seconds", "Start a timer of {0} seconds", "timer {0} seconds", "Wake me in {0} seconds"],
        ["设一个{0}秒的计时器", "计时{0}秒", "{0}秒后提醒我"],
    ),
    (
        "get_stock_price|stock_quote",
        "Get the stock price of a ticker symbol",
        "查询股票价格",
        {"symbol|ticker": (TEXT, lambda r, _: "".join(r.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=r.randint(2, 5))))},
        [
            "What is the stock price of {0}",
            "How is {0} doing on the market",
            "Quote for {0}",
            "price of {0} shares",
            "How much does a share of {0} cost",
        ],
        ["{0}的股价", "查询股票{0}", "{0}股票多少钱"],
    ),
    (
        "convert_currency|exchange|currency_convert",
        "Convert an amount between currencies",
        "货币换算",
        {
            "amount|value": (REAL, _number),
            "from_currency|source|from": (TEXT, _money),
            "to_currency|target|to": (TEXT, _money),
        },
        ["Convert {0} {1} to {2}", "How much is {0} {1} in {2}", "{0} {1} in {2}", "Change {0} {1} into {2}"],
        ["把{0} {1}换成{2}", "{0} {1}等于多少{2}", "{0}{1}换{2}"],
    ),
    (
        "translate|translate_text|translator",
        "Translate a text into a language",
        "翻译文本",
        {
            "text|sentence": (TEXT, _words),
            "target_language|language|lang": (
                TEXT,
                lambda r, _: r.choice(("German", "French", "Spanish", "Chinese", "English", "Italian", "Japanese")),
            ),
        },
        [
            'Translate "{0}" into {1}',
            'What is "{0}" in {1}',
            'How do I say "{0}" in {1}',
            'Put "{0}" into {1}',
            '"{0}" in {1} please',
        ],
        ["把“{0}”翻译成{1}", "“{0}”用{1}怎么说"],
    ),
    (
        "book_flight|search_flights|find_flight",
        "Book a flight|Find flights between two cities",
        "预订机票",
        {
            "origin|from_city|departure": (TEXT, _place),
            "destination|to_city|arrival": (TEXT, _place),
            "date|departure_date": (TEXT, lambda r, _: words.date(r)),
        },
        [
            "Book a flight from {0} to {1} on {2}",
            "I want to fly from {0} to {1} on {2}",
            "Flights from {0} to {1} on {2}",
            "Find me a plane from {0} to {1}, {2}",
        ],
        ["订一张{2}从{0}到{1}的机票", "从{0}飞到{1}，{2}", "查{2}{0}到{1}的航班"],
    ),
    (
        "get_directions|route|navigate",
        "Directions between two places",
        "路线规划",
        {"origin|start|from": (TEXT, _place), "destination|end|to": (TEXT, _place)},
        [
            "How do I get from {0} to {1}",
            "Route from {0} to {1}",
            "Directions from {0} to {1}",
            "Take me from {0} to {1}",
            "The way from {0} to {1}",
        ],
        ["从{0}到{1}怎么走", "{0}去{1}的路线", "从{0}到{1}"],
    ),
    (
        "read_file|open_file|cat",
        "Read a file|Show what a file holds",
        "读取文件",
        {"path|file|filename": (TEXT, _path)},
        ["Read the file {0}", "Show me {0}", "What is in {0}", "Open {0}", "Print the file {0}"],
        ["读取{0}", "打开文件{0}", "看看{0}里有什么"],
    ),
    (
        "scale_workers|set_replicas|scale",
        "Set the number of workers of a role",
        "调整工作进程数量",
        {
            "role|component": (TEXT, lambda r, _: r.choice(("prefill", "decode", "processor"))),
            "replicas|workers|number": (WHOLE, lambda r, _: r.randint(0, 64)),
        },
        [
            "Scale {0} to {1} workers",
            "Set {0} to {1}",
            "I want {1} {0} workers",
            "Run {1} {0} workers",
            "Change the number of {0} workers to {1}",
        ],
        ["把{0}扩到{1}个", "{0}要{1}个进程", "将{0}的副本数设为{1}"],
    ),
    (
        "play_music|play_song|play",
        "Play a song",
        "播放歌曲",
        {"title|song|track": (TEXT, lambda r, c: words.proper_zh(r) if c else words.proper(r))},
        ["Play {0}", "Play the song {0}", "I want to hear {0}", "Put on {0}", 'play "{0}"'],
        ["播放{0}", "放一首{0}", "我想听{0}", "播放歌曲“{0}”"],
    ),
]
"""Tools that people try first: names, descriptions, parameters with a maker of values, requests."""


def common(rng: Random, chinese: bool) -> Need:
    """A well-known tool and a request for it."""
    names, texts_en, texts_zh, fields, requests_en, requests_zh = rng.choice(COMMON)
    name = rng.choice(names.split("|"))
    params = []
    for aliases, (schema, make) in fields.items():
        params.append(
            Param(
                rng.choice(aliases.split("|")),
                describe(rng, dict(schema), aliases.split("|")[0].replace("_", " ").capitalize()),
                make(rng, chinese),
                [],
            )
        )
    request = rng.choice(requests_zh if chinese else requests_en)
    for at, param in enumerate(params):
        param.required = f"{{{at}}}" in request and rng.random() < 0.9
    used = [param for at, param in enumerate(params) if f"{{{at}}}" in request]
    text = request.format(*(param.value for param in params))
    text = text + rng.choice(("？", "", "。")) if chinese else finish(rng, text)
    description = rng.choice((texts_zh if chinese and rng.random() < 0.7 else texts_en).split("|"))
    return Need(
        tool_of(rng, name, description, params),
        text,
        name,
        arguments(used),
        f"the {plain(names.split('|')[0]).removeprefix('get ')}",
        params=params,
    )
