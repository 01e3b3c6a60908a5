"""A trace played on modelled engines in modelled time: hours in seconds, the same every time.

trace.py   requests of a trace, and synthetic loads        engine.py    one engine at block level
replay.py  the clock that plays a trace under a policy      policies.py  policies for comparison
report.py  what a run tells: TTFT, ITL, hit rate, spread

It imports no router: a policy is whatever keeps `ports.Policy`, and the command line brings the real ones.
"""
