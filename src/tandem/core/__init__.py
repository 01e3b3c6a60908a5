"""The nouns and rules of serving with prefill and decode apart. No I/O, no asyncio, no clock.

request.py   what a client wants, in tokens, and what comes back     handoff.py  the prefill job and its answer
cards.py     what an instance and its engine say about themselves    story.py    how one response was made
kv_events.py blocks stored and removed, as engines report them
"""
