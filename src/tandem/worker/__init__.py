"""Decode and prefill roles: an engine behind endpoints.

decode.py   owns a request: decides the prefill's site, waits for the hand-off, streams tokens
session.py  one remote prefill as its decode worker sees it: the state machine and its claims
prefill.py  takes jobs off the queue, keeps its claims alive, hands KV over
service.py  registers an engine in its roles, changes them live, stops in order
"""
