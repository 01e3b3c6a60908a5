"""Prefill and decode apart: where a prompt is prefilled, and what becomes of a remote prefill.

rules.py           pure: local or remote? may the first token come from the prefill worker?
remote_prefill.py  pure: one remote prefill from queue to first decoded token, as (state, event) → (state, effects)
queue.py           the prefill queue: jobs in lanes over the bus's work queue

No engine and no socket here; `worker/` carries the effects out.
"""
