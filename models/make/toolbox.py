"""Made-up tools, requests that need them and results that come back.

Nothing here is a list of known tools: names, parameters and values are drawn anew every time, so the only way to answer is to copy the
name from the offered tools and the values from the request. A `Tool` can be asked for again and again, in other words and with other values.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from . import words

Json = dict[str, Any]
Said = tuple[Any, list[str]]
"""A value, and the ways a request may say it."""


@dataclass(slots=True)
class Field:
    """One parameter: its schema, and how to draw a value for it."""

    name: str
    schema: Json
    draw: Callable[[Random], Said]
    required: bool = True


@dataclass(slots=True)
class Need:
    """One request and the calls that answer it."""

    tool: "Tool"
    text: str
    arguments: Json
    topic: str
    more: Json | None = None
    """Arguments of a second call, when the request names two things."""

    def calls(self) -> list[Json]:
        return [
            {"name": self.tool.name, "arguments": values}
            for values in (self.arguments, self.more)
            if values is not None
        ]


@dataclass(slots=True)
class Tool:
    """A tool on offer."""

    schema: Json
    name: str
    fields: list[Field]
    ask: Callable[[Random], Need]
    follow: Callable[[Random], Need] | None = None
    """A short second request, such as "And for Oslo?", for tools with one parameter."""


def plain(name: str) -> str:
    """A name's words: `tax_rate` and `taxRate` are said `tax rate`."""
    return "".join(f" {c.lower()}" if c.isupper() else " " if c in "_-." else c for c in name).strip()


def spell(rng: Random, parts: list[str]) -> str:
    """Join words into an identifier in one of the usual ways."""
    style = rng.random()
    if style < 0.7:
        return "_".join(parts)
    if style < 0.88:
        return parts[0] + "".join(part.capitalize() for part in parts[1:])
    if style < 0.95:
        return "-".join(parts)
    return "".join(parts)


def a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def describe(rng: Random, schema: Json, *texts: str) -> Json:
    """Most parameters have a description; some only a title; some nothing."""
    draw = rng.random()
    if draw < 0.85:
        return schema | {"description": rng.choice(texts)}
    if draw < 0.9:
        return {"title": rng.choice(texts)} | schema
    return schema


def text_value(rng: Random) -> str:
    draw = rng.random()
    if draw < 0.5:
        return words.proper(rng)
    if draw < 0.62:
        return words.noun(rng)
    if draw < 0.77:
        return words.code(rng)
    if draw < 0.85:
        return words.phrase(rng, 2, 5)
    return words.word(rng)


def quoted(rng: Random, value: str) -> str:
    """A value as a request says it; several plain words need quotes to be seen."""
    lower = value == value.lower() and " " in value
    return f'"{value}"' if lower or rng.random() < 0.15 else f"'{value}'" if rng.random() < 0.03 else value


def tool_schema(rng: Random, name: str, description: str, fields: list[Field]) -> Json:
    """The tool in OpenAI's form, with the small differences that clients make."""
    schema: Json = {"type": "object", "properties": {field.name: field.schema for field in fields}}
    required = [field.name for field in fields if field.required]
    if required or rng.random() < 0.5:
        schema["required"] = required
    if rng.random() < 0.15:
        schema["additionalProperties"] = False
    function: Json = {"name": name}
    if rng.random() < 0.95:
        function["description"] = description
    function["parameters"] = schema
    if rng.random() < 0.08:
        function["strict"] = True
    return {"type": "function", "function": function}


def finish(rng: Random, text: str) -> str:
    """Punctuation and manners, as people add or leave them."""
    draw = rng.random()
    if draw < 0.2 and not text.startswith(("I ", "I'", "We ", "And ", "Use ", "Call ", "Run ")):
        manner = rng.choice(("Please", "Can you", "Could you", "I want you to", "Hey,", "Now", "Would you", "Kindly"))
        text = f"{manner} {text[0].lower() + text[1:] if text[:1].isupper() and text[1:2].islower() else text}"
    if rng.random() < 0.15:
        text += rng.choice((", please", " please", " for me", " now", " today", ", thanks", " right away", " tonight"))
    if rng.random() < 0.7:
        text += rng.choice((".", ".", "?", "!"))
    return text if rng.random() < 0.85 else text[0].lower() + text[1:]


def unique(fields: list[Field]) -> list[Field]:
    """Drop parameters whose name is taken."""
    kept: dict[str, Field] = {}
    for field in fields:
        kept.setdefault(field.name, field)
    return list(kept.values())


def subject(rng: Random, noun: str) -> Field:
    """The parameter that the request is about: a name of something."""
    name = rng.choice(
        (noun, noun, noun, f"{noun}_id", f"{noun}_name", "name", "id", "query", "target", words.word(rng))
    )
    texts = (f"Name of the {noun}", f"The {noun}", f"{noun.capitalize()} name", f"Which {noun}", f"Id of the {noun}", f"The {noun} to use", noun.capitalize(), f"{noun.capitalize()} to {words.word(rng)}")  # fmt: skip
    coded = rng.random() < 0.2

    def draw(say: Random) -> Said:
        value = words.code(say) if coded else text_value(say)
        return value, [quoted(say, value)]

    return Field(name, describe(rng, {"type": "string"}, *texts), draw)


def extra(rng: Random) -> Field:
    """A further parameter of any kind."""
    noun, odd, other = words.noun(rng), words.word(rng), words.word(rng)
    kind = rng.random()
    if kind < 0.3:
        name = rng.choice((noun, f"{noun}s", f"num_{noun}", f"{noun}_count", f"{noun}s", "amount", "number", odd))
        many = f"{noun}s"

        def number(say: Random) -> Said:
            value = say.choice((say.randint(1, 12), say.randint(1, 99), say.randint(100, 9999)))
            return value, [f"for {value} {many}", f"{value} {many}", f"with {value} {many}", f"with {a(noun)} of {value}", f"{plain(name)} {value}", f"at {a(noun)} of {value} {words.word(say)}", f"to {value} {many}", f"with {plain(name)} {value}", f"for {value} {many}", f"we are {value} {many}"]  # fmt: skip

        return Field(name, describe(rng, {"type": "integer"}, f"Number of {many}", f"How many {many}", f"{many.capitalize()} as a whole number", f"{noun.capitalize()} in {odd}s"), number)  # fmt: skip
    if kind < 0.4:
        name = rng.choice((noun, f"{noun}_{odd}", odd))

        def real(say: Random) -> Said:
            value = round(say.uniform(0, say.choice((1, 10, 1000))), say.choice((1, 1, 2)))
            return value, [f"with {a(plain(name))} of {value}", f"at {value} {odd}", f"{plain(name)} {value}", f"for {value} {odd}", f"{value} {noun}s", f"with {value} {odd} of {noun}", f"to {a(plain(name))} of {value}", f"the {noun} is {value} {odd}"]  # fmt: skip

        return Field(name, describe(rng, {"type": "number"}, f"{noun.capitalize()} in {odd}", f"The {plain(name)}", f"The {noun}"), real)  # fmt: skip
    if kind < 0.6:
        name = rng.choice((noun, noun, f"{noun}_name", odd))
        near = rng.choice(words.PREPOSITIONS)

        def text(say: Random) -> Said:
            value = text_value(say)
            shown = quoted(say, value)
            return value, [f"{near} {shown}", f"{near} the {plain(name)} {shown}", f"{plain(name)} {shown}", f"{near} {plain(name)} {shown}", f"with the {noun} {shown}", f"{near} {shown}", f"{say.choice(words.PREPOSITIONS)} the {noun} {shown}"]  # fmt: skip

        return Field(name, describe(rng, {"type": "string"}, f"The {noun}", f"{noun.capitalize()} name", f"Which {noun}", f"{noun.capitalize()} to use", f"{noun.capitalize()} {near} which to {other}"), text)  # fmt: skip
    if kind < 0.7:
        name = rng.choice(("date", f"{noun}_date", "when", odd, "from", "until"))

        def date(say: Random) -> Said:
            value = words.date(say)
            return value, [f"on {value}", f"for {value}", f"on the date {value}", f"{plain(name)} {value}"]

        return Field(name, describe(rng, {"type": "string"}, "Date as YYYY-MM-DD", "The date", f"Date of the {noun}", "YYYY-MM-DD"), date)  # fmt: skip
    if kind < 0.75:

        def clock(say: Random) -> Said:
            value = words.clock(say)
            return value, [f"at {value}", f"for {value} o'clock", f"by {value}"]

        return Field(rng.choice(("time", "start", f"{noun}_time", odd)), describe(rng, {"type": "string"}, "Time of day", "HH:MM", f"Time of the {noun}"), clock)  # fmt: skip
    if kind < 0.87:
        options = list(dict.fromkeys(rng.choice((words.word(rng), rng.choice(words.COMMON), words.noun(rng), f"{words.word(rng)}_{words.word(rng)}")) for _ in range(rng.randint(2, 4))))  # fmt: skip
        name = rng.choice((noun, "units", "mode", "type", "format", odd))

        def option(say: Random) -> Said:
            value = say.choice(options)
            return value, [f"in {value}", f"as {value}", f"with {plain(name)} {value}", f"{value}", f"using {value}", f", in {value}", f"of {plain(name)} {value}", f"with {value} {plain(name)}", f"of {value} {plain(name)}"]  # fmt: skip

        return Field(name, describe(rng, {"type": "string"}, f"The {plain(name)}", f"Which {plain(name)}") | {"enum": options}, option)  # fmt: skip
    if kind < 0.94:
        name = rng.choice((noun, f"with_{noun}", f"use_{noun}", f"{noun}_enabled", odd))
        what = plain(name).removeprefix("with ").removeprefix("use ").removesuffix(" enabled")

        def switch(say: Random) -> Said:
            if say.random() < 0.5:
                return True, [f"with {what}", f"and {what} yes", f"with {what} on", f"{what} true", f"it is {a(what)}"]
            return False, [f"without {what}", f"and {what} no", f"with {what} off", f"{what} false", f"no {what}"]

        return Field(name, describe(rng, {"type": "boolean"}, f"Whether to use {what}", f"True for {what}", f"With or without {what}", f"Whether it is {a(what)}"), switch)  # fmt: skip
    if kind < 0.97:
        name = f"{noun}s"

        def several(say: Random) -> Said:
            items = [words.proper(say).split(" ")[0] for _ in range(say.randint(2, 3))]
            listed = ", ".join(items[:-1]) + f" and {items[-1]}"
            return items, [f"for {listed}", f"with {name} {listed}", f"{name} {listed}"]

        return Field(name, describe(rng, {"type": "array", "items": {"type": "string"}}, f"The {name}", f"List of {name}"), several)  # fmt: skip

    def mail(say: Random) -> Said:
        value = words.address(say)
        return value, [f"to {value}", f"for {value}", f"from {value}"]

    return Field(rng.choice(("email", "recipient", f"{noun}_mail", odd)), describe(rng, {"type": "string"}, "Mail address", "Email address", f"Mail address of the {noun}"), mail)  # fmt: skip


def switch_tool(rng: Random) -> Tool:
    """A flag that a request says with the words on and off."""
    noun = words.noun(rng)
    main = subject(rng, noun)
    flag_name = rng.choice(("is_on", "active", "enabled", "state_on", words.word(rng)))
    verb = rng.choice(("turn", "switch", "set", words.word(rng)))
    name = spell(rng, [verb, noun])
    flag = Field(flag_name, describe(rng, {"type": "boolean"}, f"True to {words.word(rng)}", "True for on", "Whether it is on"), lambda say: (say.random() < 0.5, []))  # fmt: skip
    tool = Tool(tool_schema(rng, name, f"{rng.choice(('Switch', 'Turn'))} {a(noun)} on or off", [main, flag]), name, [main, flag], lambda say: Need(tool, "", {}, ""))  # fmt: skip

    def ask(say: Random) -> Need:
        value, (shown, *_) = main.draw(say)
        on = say.random() < 0.5
        which, act = "on" if on else "off", say.choice(("Turn", "Switch"))
        text = say.choice((f"{act} {which} the {noun} {shown}", f"{act} the {noun} {shown} {which}", f"{act} {shown} {which}", f"{act} the {shown} {noun} {which}"))  # fmt: skip
        return Need(
            tool, finish(say, text), {main.name: value, flag_name: on}, f"me to {act.lower()} {which} the {noun}"
        )

    tool.ask = ask
    return tool


def make(rng: Random) -> Tool:
    """A tool that is asked for in English."""
    if rng.random() < 0.06:
        return switch_tool(rng)
    noun, second = words.noun(rng), words.noun(rng)
    main = subject(rng, noun)
    asks = rng.random() < 0.45
    if asks:  # a property of something
        attr = rng.choice(words.ATTRS) if rng.random() < 0.4 else rng.choice((second, second, f"{second}_{words.noun(rng)}", f"{noun}_{second}", words.word(rng)))  # fmt: skip
        what = plain(attr)
        name = spell(rng, [*rng.choice(((), (), ("get",), ("find",), ("check",), ("lookup",), ("query",), ("fetch",))), *attr.split("_"), *rng.choice(((), (), (), ("of", noun), (noun,), ("for",)))])  # fmt: skip
        description = rng.choice((f"{what.capitalize()} of {a(noun)}", f"Get the {what} of {a(noun)}", f"The {what} of {a(noun)} {rng.choice(words.PREPOSITIONS)} {a(second)}", f"Look up {what} for {a(noun)}", f"Return the {what} in {a(noun)}", f"{what.capitalize()} at a {words.word(rng)} {noun}", f"How {words.word(rng)} {a(noun)} {words.word(rng)}", f"Which {what} {a(noun)} has", f"When the {what} {words.word(rng)}s {rng.choice(words.PREPOSITIONS)} {a(noun)}", f"{what.capitalize()} {rng.choice(words.PREPOSITIONS)} which the {second}s of {a(noun)} {words.word(rng)}", f"Who {words.word(rng)}s {a(noun)}", f"{second.capitalize()}s of {a(noun)} left in the {what}", f"{words.word(rng).capitalize()} {what} {rng.choice(words.PREPOSITIONS)} {a(noun)}"))  # fmt: skip
        verb, topic = "", f"for the {what}"
    else:  # something to be done
        what = ""
        verb = rng.choice(words.VERBS) if rng.random() < 0.6 else words.word(rng)
        name = rng.choice((spell(rng, [verb, noun]), spell(rng, [verb, noun]), spell(rng, [noun, verb]), spell(rng, [verb, noun, second]), spell(rng, [noun, second]), verb))  # fmt: skip
        description = rng.choice((f"{verb.capitalize()} {a(noun)}", f"{verb.capitalize()} {a(noun)} {rng.choice(words.PREPOSITIONS)} {a(second)}", f"{verb.capitalize()} the {noun} of {a(second)}", f"{verb.capitalize()} {a(noun)} by its {main.name}", f"Use this to {verb} {a(noun)}", f"Have {a(noun)} {verb}ed", f"{verb.capitalize()} something with {a(noun)}", f"{noun.capitalize()} {verb}ing", f"{verb.capitalize()} the {second} {rng.choice(words.PREPOSITIONS)} {a(noun)}"))  # fmt: skip
        topic = f"me to {verb} the {noun}"
    extras = [extra(rng) for _ in range(rng.choice((0, 0, 0, 1, 1, 1, 2, 2, 3)))]
    fields = unique([main, *extras])
    if rng.random() < 0.08 and len(fields) > 1:  # a number or a date alone is what the request gives
        fields = fields[1:]
    whole = fields[0] is main
    for field in fields:
        field.required = field is main or rng.random() < 0.8
    tool = Tool(tool_schema(rng, name, description, fields), name, fields, lambda say: Need(tool, "", {}, ""))

    def sentence(say: Random, value: str) -> str:
        near, odd = say.choice(words.PREPOSITIONS), words.word(say)
        mention = say.choice((value, value, f"{noun} {value}", f"the {noun} {value}", f"the {value} {noun}"))
        if say.random() < 0.08:  # in no order: the tool's words and the value stand in a sentence without sense
            named = value if value[:1].isupper() or any(c.isdigit() for c in value) or value[:1] in "\"'" else f'"{value}"'  # fmt: skip
            one, two, three = (" ".join(say.choices(words.COMMON, k=say.randint(1, 4))) for _ in range(3))
            key = f"{verb} {noun}" if verb else f"{what} {noun}"
            return say.choice((f"{one} {key} {two} {named} {three}", f"{one} {verb or what} {two} {noun} {three} {named}", f"{one} {named} {two} {key}", f"{named} {one} {key}", f"the {noun} {named} {one} {verb or what}"))  # fmt: skip
        if asks:
            return say.choice((
                f"What is the {what} {near} {mention}", f"What's the {what} of {mention}", f"{what} {near} {mention}", f"I need the {what} {near} {mention}", f"Tell me the {what} of {mention}",
                f"Which {what} does {mention} have", f"How is the {what} {near} {mention}", f"Show me the {what} for {mention}", f"How much {what} is {near} {mention}", f"How {odd} is the {what} {near} {mention}",
                f"Give me {what} {near} {mention}", f"I want to know the {what} of {mention}", f"Find the {what} {near} {mention}", f"Look up the {what} of {mention}", f"When does the {what} {odd} {near} {mention}",
                f"Where is the {what} of {mention}", f"How many {what}s does {mention} {odd}", f"And the {what} {near} {mention}", f"{say.choice(('On', 'At', 'In', 'To'))} which {what} do the {second}s of {mention} {odd}",
                f"Who {odd}s the {what} of {mention}", f"How many {odd}s of {what} does the {noun} {value} {odd}", f"What {what} does {mention} {odd}", f"Could you check {what} {near} {mention}",
                f"How {odd} does the {noun} {value} {odd}", f"Which {what} is {odd} to {mention}", f"Where {near} the {odd} is the {what} {value} {odd} now", f"What is the {what} of the {odd} {near} {mention}",
                f"How many {what}s are there {near} {mention}", f"Is there any {what} {near} {mention}", f"Who is the {what} {near} {mention}",
            ))  # fmt: skip
        return say.choice((
            f"{verb.capitalize()} {noun} {value}", f"{verb.capitalize()} the {noun} {value}", f"{verb.capitalize()} the {noun} of {value}", f"I want to {verb} the {noun} {value}", f"{verb.capitalize()} {a(noun)} {near} {value}",
            f"{verb.capitalize()} {value} {near} the {noun}", f"{verb.capitalize()} the {noun} called {value}", f"{verb.capitalize()} the {noun} with {plain(main.name)} {value}", f"I'd like to {verb} {a(noun)} {near} {value}", f"{verb.capitalize()} me {a(noun)} {near} {value}",
            f"Have the {noun} of {value} {verb}ed", f"{verb.capitalize()} all the {noun} {near} {value}", f"We must {verb} {noun} {value}", f"{verb.capitalize()} the {value} {noun}", f"{verb.capitalize()} {value} {near} the {noun}", f"{verb.capitalize()} the {second} of the {value} {noun}",
            f"{value} needs {a(noun)} to {verb}", f"The {noun} {value} has to be {verb}ed", f"My {noun} is {value}, {verb} it", f"{verb.capitalize()} {a(noun)} with {value}",
        ))  # fmt: skip

    def ask(say: Random) -> Need:
        drawn = {field.name: field.draw(say) for field in fields}
        given = [field for field in fields if field.required or say.random() < 0.5]
        values = {field.name: drawn[field.name][0] for field in given}
        shown = drawn[main.name][1][0] if whole else ""
        spoken = [field for field in given if field is not main]
        text = sentence(say, shown) if whole else f"{say.choice((verb.capitalize(), 'Show', 'Give me', 'I need', 'Get')) if asks else verb.capitalize()} the {what or noun}"  # fmt: skip
        if say.random() < 0.12:
            say.shuffle(spoken)
        if say.random() < 0.08 and given:  # the request spells every parameter out
            pieces = [f"{field.name}{say.choice((' ', '=', ': '))}{quoted(say, values[field.name]) if isinstance(values[field.name], str) else json.dumps(values[field.name])}" for field in given]  # fmt: skip
            text = (
                f"{say.choice(('Use', 'Call', 'Run'))} {tool.name}{say.choice((':', ' with', ','))} {', '.join(pieces)}"
            )
            return Need(tool, finish(say, text), values, topic)
        if spoken and type(values[spoken[0].name]) in (int, float) and whole and " " in text and say.random() < 0.15:
            first, rest = text.split(" ", 1)
            text = f"{first} {values[spoken[0].name]} {say.choice((plain(spoken[0].name), words.noun(say) + 's of'))} {rest}"  # fmt: skip
            spoken = spoken[1:]
        for field in spoken:
            how = say.choice(drawn[field.name][1])
            text += how if how.startswith(",") else say.choice((" ", " ", " ", ", ", " and ", ", and ")) + how
        made = Need(tool, "", values, topic)
        if len(values) == 1 and whole and say.random() < 0.15:  # two things at once
            second_value, (second_shown, *_) = main.draw(say)
            text = f"{text} and {say.choice(('of ', 'for ', 'also ', ''))}{second_shown}"
            made.more = {main.name: second_value}
        made.text = finish(say, text)
        return made

    def follow(say: Random) -> Need:
        value, (shown, *_) = main.draw(say)
        text = say.choice(("And for {}?", "What about {}?", "Now {}", "the same for {} please", "And {}?", "and {} too", "Do that for {} as well"))  # fmt: skip
        return Need(tool, text.format(shown), {main.name: value}, topic)

    tool.ask = ask
    if whole and len(fields) == 1:
        tool.follow = follow
    return tool


@dataclass(slots=True)
class Slot:
    """A thing that a request names: the parameter, its noun, and the preposition that leads to it."""

    noun: str
    field: Field
    near: str


def slot(rng: Random, noun: str, near: str) -> Slot:
    name = rng.choice((noun, noun, noun, noun, f"{noun}_name", f"{noun}_id", f"{rng.choice(words.COMMON)}_{noun}", f"{near}_{noun}", f"{noun}_{words.word(rng)}"))  # fmt: skip
    if name in words.HELD_BACK:
        name = noun
    texts = (f"The {noun}", f"The {noun}", f"Name of the {noun}", f"Which {noun}", f"{noun.capitalize()} name", noun.capitalize())  # fmt: skip
    coded = rng.random() < 0.12

    def draw(say: Random) -> Said:
        value = words.code(say) if coded else words.noun(say) if say.random() < 0.1 else words.proper(say)
        return value, [quoted(say, value)]

    return Slot(noun, Field(name, describe(rng, {"type": "string"}, *texts), draw), near)


def make_spoken(rng: Random) -> Tool:
    """A tool whose description and requests are the same sentence, once with nouns and once with values.

    Several values are told apart by their nouns and prepositions, in whatever order the request names them; a value may also stand
    before the thing as its kind, or be a number with its unit.
    """
    thing, what, more = rng.sample(words.NOUNS, 3)
    if rng.random() < 0.25:
        thing = f"{rng.choice((more, rng.choice(words.COMMON)))} {thing}"
    near = rng.sample(("in", "at", "for", "of", "from", "to", "near", "with", "on", "over", "by"), 3)
    slots = [slot(rng, noun, near[at]) for at, noun in enumerate(words.noun(rng) for _ in range(rng.choice((1, 1, 1, 2, 2, 3))))]  # fmt: skip
    slots = list({each.field.name: each for each in slots}.values())
    kind: Field | None = None
    if rng.random() < 0.3:  # its kind, said before it
        options = [rng.choice((words.word(rng), rng.choice(words.COMMON), words.noun(rng))) for _ in range(rng.randint(2, 4))] if rng.random() < 0.5 else []  # fmt: skip
        label = rng.choice(("type", "sort", "variety", "style", "size", "model", what, what))
        schema: Json = {"type": "string"} | ({"enum": list(dict.fromkeys(options))} if options else {})
        kind = Field(label, describe(rng, schema, f"Kind of {thing}", f"{label.capitalize()} of the {thing}", f"Which {label}", f"The {label}"), lambda say: (say.choice(options) if options else say.choice((words.word, words.noun))(say), []))  # fmt: skip
        if rng.random() < 0.5:
            slots = slots[1:]
    count: Field | None = None
    unit = f"{words.noun(rng)}s"
    if rng.random() < 0.35:
        label = rng.choice((unit, unit, unit[:-1], f"{unit}_count", f"num_{unit}", "amount", "quantity"))
        if label not in words.HELD_BACK:
            count = Field(label, describe(rng, {"type": "integer"}, f"Number of {unit}", f"How many {unit}", unit.capitalize()), lambda say: (say.choice((say.randint(1, 12), say.randint(1, 99), say.randint(100, 999))), []))  # fmt: skip
    fields = unique([*(each.field for each in slots), *([kind] if kind else []), *([count] if count else [])])
    if rng.random() < 0.4:
        rng.shuffle(fields)
    if not fields or len(fields) < len(slots) + bool(kind) + bool(count):
        return make_spoken(rng)
    asks = rng.random() < 0.45
    attr = plain(rng.choice(words.ATTRS)) if rng.random() < 0.4 else what
    if asks and rng.random() < 0.3:
        attr = f"{rng.choice((*words.COMMON[34:64], words.noun(rng), 'next'))} {attr}"
    verb = rng.choice(words.VERBS)
    told = [f"{each.near} {a(each.noun)}" for each in slots[: rng.choice((1, 1, 2, 3))]]
    description = " ".join((f"{attr.capitalize()} of {a(thing)}" if asks and rng.random() < 0.4 else attr.capitalize() if asks else f"{verb.capitalize()} {a(thing)}", *told))  # fmt: skip
    if rng.random() < 0.1:
        description = f"{rng.choice(('Get the', 'Look up the', 'Find the') if asks else ('Use this to', 'Lets you'))} {description[0].lower()}{description[1:]}"  # fmt: skip
    head = attr.split() if asks else [verb, *thing.split()]
    name = spell(rng, rng.choice((head, head, [*head, slots[0].noun] if slots else head, [*thing.split(), head[0]])))
    topic = f"for the {attr}" if asks else f"me to {verb} the {thing}"
    tool = Tool(tool_schema(rng, name, description, fields), name, fields, lambda say: Need(tool, "", {}, ""))

    def ask(say: Random) -> Need:
        drawn = {field.name: field.draw(say) for field in fields}
        values: Json = {name: value for name, (value, _) in drawn.items()}
        bare = say.random() < 0.5  # at most one value stands without its noun
        said = []
        for at, each in enumerate(slots):
            shown = drawn[each.field.name][1][0]
            labelled = say.choice((f"the {each.noun} {shown}", f"the {each.noun} {shown}", f"{each.noun} {shown}", f"the {shown} {each.noun}", f"the {each.noun} called {shown}"))  # fmt: skip
            said.append(f"{each.near} {shown if bare and at == 0 else labelled}")
        if say.random() < 0.4:
            say.shuffle(said)
        shown_thing = f"{values[kind.name]} {thing}" if kind else thing
        if count:
            number = values[count.name]
            amount = f"{number} {unit}"
            if say.random() < 0.5:
                shown_thing = f"{amount} of {shown_thing}"
            else:
                said.insert(say.randint(0, len(said)), say.choice((f"for {amount}", f"with {amount}", f"{amount}", f"and {amount}")))  # fmt: skip
                shown_thing = f"{say.choice(('the', 'a', 'some'))} {shown_thing}"
        elif kind:
            shown_thing = say.choice((shown_thing, f"some {shown_thing}", f"the {shown_thing}", f"a {shown_thing}"))
        else:
            shown_thing = say.choice((f"the {thing}", f"the {thing}", a(thing), thing, f"my {thing}"))
        tail = " ".join(said)
        if asks:
            of = f" of {shown_thing}" if kind or count or say.random() < 0.2 else ""
            text = say.choice((
                f"What is the {attr}{of} {tail}", f"What's the {attr}{of} {tail}", f"Tell me the {attr}{of} {tail}", f"I need the {attr}{of} {tail}", f"{attr}{of} {tail}", f"{attr.capitalize()}{of} {tail}",
                f"And the {attr}{of} {tail}", f"How high is the {attr}{of} {tail}", f"Which {attr} is there{of} {tail}", f"I would like to know the {attr}{of} {tail}", f"What are the {attr}s{of} {tail}",
                f"When is the {attr}{of} {tail}", f"Where is the {attr}{of} {tail}", f"Do you know the {attr}{of} {tail}", f"Look up the {attr}{of} {tail}", f"Is there a {attr}{of} {tail}",
            ))  # fmt: skip
            if kind and not count and say.random() < 0.3:
                text = say.choice((f"How much {values[kind.name]} {thing} is in the {attr} {tail}", f"How many {unit} of {values[kind.name]} {thing} has the {attr} {tail}", f"Is any {values[kind.name]} {thing} left {tail}, and what {attr}"))  # fmt: skip
        else:
            text = say.choice((
                f"{verb.capitalize()} {shown_thing} {tail}", f"{verb.capitalize()} {shown_thing} {tail}", f"I want to {verb} {shown_thing} {tail}", f"I'd like to {verb} {shown_thing} {tail}", f"{verb.capitalize()} me {shown_thing} {tail}",
                f"We have to {verb} {shown_thing} {tail}", f"It is time to {verb} {shown_thing} {tail}", f"Let us {verb} {shown_thing} {tail}", f"{tail.capitalize() if tail.islower() else tail}, {verb} {shown_thing}",
            ))  # fmt: skip
        return Need(tool, finish(say, text.replace("  ", " ").strip(" ,")), values, topic)

    tool.ask = ask
    return tool


def extra_zh(rng: Random) -> Field:
    """A further parameter of a Chinese tool."""
    noun = words.noun_zh(rng)
    name = rng.choice((words.noun(rng), words.word(rng), words.noun(rng), noun))
    kind = rng.random()
    if kind < 0.35:
        unit = rng.choice("个 次 天 分钟 小时 张 件 米 楼 号 份 人 度 元 位 杯 斤 公里 岁 层".split(" "))

        def number(say: Random) -> Said:
            value = say.choice((say.randint(1, 12), say.randint(1, 99), say.randint(100, 9999)))
            return value, [f"，{value}{unit}", f"{value}{unit}", f"，{noun}{value}{unit}", f"，一共{value}{unit}{noun}", f"，{noun}为{value}", f"，要{value}{unit}", f"，有{value}{unit}{noun}"]  # fmt: skip

        return Field(name, describe(rng, {"type": "integer"}, f"{noun}数量", f"{noun}数", noun, f"{unit}数"), number)
    if kind < 0.65:

        def text(say: Random) -> Said:
            value = words.proper_zh(say) if say.random() < 0.7 else words.code(say)
            return value, [f"，{noun}“{value}”", f"，{noun}是{value}", f'，到"{value}"', f'，{noun}"{value}"', f"，{noun}：{value}", f"，{noun}在{value}"]  # fmt: skip

        return Field(name, describe(rng, {"type": "string"}, noun, f"{noun}名称", f"哪个{noun}"), text)
    if kind < 0.75:

        def date(say: Random) -> Said:
            value = words.date(say)
            return value, [f"，日期{value}", f"，{value}", f"，在{value}"]

        return Field(name, describe(rng, {"type": "string"}, "日期", f"{noun}日期"), date)
    if kind < 0.88:
        options = list(dict.fromkeys(rng.choice((words.word(rng), words.noun_zh(rng))) for _ in range(3)))

        def option(say: Random) -> Said:
            value = say.choice(options)
            return value, [f"，用{value}", f"，{noun}{value}", f"，{noun}选{value}"]

        return Field(name, describe(rng, {"type": "string"}, noun) | {"enum": options}, option)

    def switch(say: Random) -> Said:
        return (
            (True, [f"，需要{noun}", f"，要{noun}"])
            if say.random() < 0.5
            else (False, [f"，不要{noun}", f"，不需要{noun}"])
        )

    return Field(name, describe(rng, {"type": "boolean"}, f"是否需要{noun}", f"是否{noun}"), switch)


def make_zh(rng: Random) -> Tool:
    """A tool that is asked for in Chinese."""
    noun = words.noun_zh(rng)
    numeric = rng.random() < 0.1
    key = rng.choice((words.noun(rng), words.word(rng), "name", f"{words.noun(rng)}_id", noun, f"{noun}名"))
    texts = (f"{noun}编号", "编号") if numeric else (f"{noun}名称", noun, f"{noun}的名字", f"哪个{noun}", f"{noun}编号", f"{noun}位置")  # fmt: skip

    def draw(say: Random) -> Said:
        if numeric:
            value: Any = say.choice((say.randint(1, 99), say.randint(1, 999)))
            return value, [f"{value}号"]
        value = words.proper_zh(say) if say.random() < 0.7 else say.choice((words.code, words.proper))(say)
        return value, [say.choice((f"{value}", f"“{value}”", f'"{value}"', f"{value}"))]

    main = Field(key, describe(rng, {"type": "integer" if numeric else "string"}, *texts), draw)
    kind = rng.random()
    extras: list[Field] = []
    flag_name = rng.choice(("enabled", "active", "is_on", words.word(rng)))
    attr = rng.choice(words.ATTRS_ZH) if rng.random() < 0.6 else words.noun_zh(rng)
    verb = rng.choice(words.VERBS_ZH) if rng.random() < 0.75 else "".join(rng.choices(words.HAN, k=2))
    if kind < 0.08 and not numeric:
        extras = [Field(flag_name, describe(rng, {"type": "boolean"}, "是否打开", f"是否打开{noun}"), lambda say: (True, []))]  # fmt: skip
        description = rng.choice((f"打开或关闭{noun}", f"{noun}开关"))
        name = spell(rng, [rng.choice(("switch", "set", "turn", words.word(rng))), words.noun(rng)])
        topic = f"开关{noun}"
    else:
        extras = unique([main, *(extra_zh(rng) for _ in range(rng.choice((0, 0, 0, 1, 1, 2))))])[1:]
        if kind < 0.55:
            description = rng.choice((f"查询{noun}的{attr}", f"获取{noun}的{attr}", f"查询某个{noun}的{attr}", f"{noun}{attr}查询", f"测量一个{noun}的{attr}", f"查询{noun}{attr}", f"查看{noun}{attr}"))  # fmt: skip
            name = spell(rng, [*rng.choice(((), ("get",), ("query",), ("check",))), words.noun(rng), *rng.choice(((), (words.noun(rng),), (words.word(rng),)))])  # fmt: skip
            topic = attr
        else:
            description = rng.choice((f"{verb}{noun}", f"{verb}一个{noun}", f"用来{verb}{noun}", f"{noun}{verb}"))
            name = spell(rng, [words.noun(rng) if rng.random() < 0.5 else rng.choice(words.VERBS), words.noun(rng), *rng.choice(((), (words.word(rng),)))])  # fmt: skip
            topic = f"{verb}{noun}"
    if rng.random() < 0.05:
        name = topic
    fields = unique([main, *extras])
    tool = Tool(tool_schema(rng, name, description, fields), name, fields, lambda say: Need(tool, "", {}, ""))

    def ask(say: Random) -> Need:
        value, (shown, *_) = draw(say)
        values: Json = {main.name: value}
        if kind < 0.08 and not numeric:
            on = say.random() < 0.5
            act = "打开" if on else say.choice(("关闭", "关上", "关掉"))
            values[flag_name] = on
            text = say.choice((f"把{shown}的{noun}{act}", f"{act}{shown}的{noun}", f"请{act}{shown}{noun}", f"把{shown}{noun}{act}"))  # fmt: skip
        elif kind < 0.55:
            text = say.choice((
                f"查询{shown}的{attr}", f"查一下{noun}{shown}的{attr}", f"{shown}的{attr}是多少", f"我想知道{shown}的{attr}", f"帮我查{noun}{shown}的{attr}", f"{shown}这个{noun}的{attr}是多少", f"{shown}{noun}的{attr}怎么样",
                f"请告诉我{shown}的{attr}", f"看看{shown}的{attr}", f"查询{noun}{shown}的{attr}", f"{noun}{shown}的{attr}", f"获取{shown}的{attr}", f"测量{noun}{shown}的{attr}", f"{shown}的{attr}多少", f"{shown}这个{noun}的{attr}高不高",
                f"有没有{shown}的{attr}", f"{attr}，{noun}{shown}", f"{shown}{noun}{attr}", f"想查{shown}的{noun}{attr}",
            ))  # fmt: skip
        else:
            text = say.choice((f"{verb}{noun}{shown}", f"帮我{verb}{shown}{noun}", f"请{verb}{shown}的{noun}", f"把{noun}{shown}{verb}", f"我要{verb}{noun}{shown}", f"{verb}{shown}{noun}", f"在{noun}{shown}{verb}", f"{noun}{shown}要{verb}", f"给{shown}{verb}{noun}", f"从{shown}{verb}{noun}", f"把{shown}的{noun}{verb}", f"{shown}的{noun}坏了，请{verb}"))  # fmt: skip
        for field in extras:
            worth, said = field.draw(say)
            if not said:
                continue
            values[field.name] = worth
            how = say.choice(said)
            if type(worth) is int and say.random() < 0.25:
                how = how.removeprefix("，")
                text = f"{how}，{text}" if say.random() < 0.4 else f"{text[:2]}{how}{text[2:]}" if text[:2] in words.VERBS_ZH else f"{text}，{how}"  # fmt: skip
            else:
                text += how if say.random() < 0.8 else how.replace("，", ",")
        if say.random() < 0.3:
            text += say.choice(("，谢谢", "，快点", "，好吗", "，请帮忙", "吧"))
        text += say.choice(("。", "。", "？", "", "", "！"))
        if say.random() < 0.3:  # the punctuation of an English keyboard
            text = text.translate(str.maketrans("，：？！“”", ',:?!""'))
        return Need(tool, text, values, topic)

    def follow(say: Random) -> Need:
        value, (shown, *_) = draw(say)
        return Need(tool, say.choice(("那{}呢？", "{}呢？", "再查一下{}", "那么{}的呢", "{}也一样")).format(shown), {main.name: value}, topic)  # fmt: skip

    tool.ask = ask
    if len(fields) == 1:
        tool.follow = follow
    return tool


def twin(rng: Random, tool: Tool) -> Tool:
    """A near twin of a tool, never asked for: part of its name is the same, so the whole name must be read."""
    schema = json.loads(json.dumps(tool.schema))
    function = schema["function"]
    other = words.noun(rng)
    name = rng.choice((f"{tool.name}_{other}", f"{other}_{tool.name}", f"{rng.choice(words.VERBS)}_{tool.name.split('_')[-1]}"))  # fmt: skip
    function["name"] = name
    if "description" in function:
        kept = function["description"].split(" ")
        kept[rng.randrange(len(kept))] = other
        function["description"] = " ".join(kept)
    return Tool(schema, name, tool.fields, tool.ask)


def one(rng: Random, chinese: bool) -> Tool:
    """A tool of any kind."""
    if rng.random() < 0.1:
        return common(rng, chinese)
    if chinese and rng.random() < 0.9:
        return make_zh(rng)
    return make_spoken(rng) if rng.random() < 0.4 else make(rng)


def kit(rng: Random, chinese: bool, count: int) -> list[Tool]:
    """Some tools with different names."""
    tools: dict[str, Tool] = {}
    while len(tools) < count:
        tool = one(rng, chinese)
        tools.setdefault(tool.name, tool)
    kept = list(tools.values())
    if rng.random() < 0.1:  # names that begin alike, so that the whole name must be read
        prefix = words.word(rng)[: rng.randint(2, 6)]
        for tool in kept:
            tool.name = tool.schema["function"]["name"] = f"{prefix}_{tool.name}"
    return kept


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
                lambda: words.phrase_zh(rng, 1, 3) if chinese else words.phrase(rng, 1, 3), lambda: f"{rng.randint(1, 99)} {words.word(rng)}", lambda: rng.randint(-40, 0), lambda: f"{rng.choice(words.LETTERS).upper()}. {words.word(rng).capitalize()}", lambda: "".join(rng.choices(".-_/ :", k=rng.randint(3, 14))).strip() or "-", lambda: f"{rng.randint(1, 99)}.{rng.randint(0, 9)}{'米' if chinese else '%'}",
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


def common(rng: Random, chinese: bool) -> Tool:
    """A well-known tool."""
    names, texts_en, texts_zh, parameters, requests_en, requests_zh = rng.choice(COMMON)
    name = rng.choice(names.split("|"))
    fields: list[Field] = []
    requests = requests_zh if chinese else requests_en
    for at, (aliases, (schema, maker)) in enumerate(parameters.items()):
        titled = aliases.split("|")[0].replace("_", " ").capitalize()
        always = all(f"{{{at}}}" in request for request in requests)
        fields.append(
            Field(
                rng.choice(aliases.split("|")),
                describe(rng, dict(schema), titled),
                lambda say, maker=maker: (maker(say, chinese), []),
                always and rng.random() < 0.9,
            )
        )
    description = rng.choice((texts_zh if chinese and rng.random() < 0.7 else texts_en).split("|"))
    topic = f"for the {plain(names.split('|')[0]).removeprefix('get ')}"
    tool = Tool(tool_schema(rng, name, description, fields), name, fields, lambda say: Need(tool, "", {}, ""))

    def ask(say: Random) -> Need:
        request = say.choice(requests)
        values = [field.draw(say)[0] for field in fields]
        text = request.format(*values)
        text = text + say.choice(("？", "", "。")) if chinese else finish(say, text)
        said = {
            field.name: value
            for at, (field, value) in enumerate(zip(fields, values, strict=True))
            if f"{{{at}}}" in request
        }
        return Need(tool, text, said, topic)

    tool.ask = ask
    return tool
