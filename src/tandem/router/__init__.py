"""Which instance takes a request: pure rules, and a thin shell that feeds them.

rules.py    the choice, as functions of what is known        ports.py    what a processor calls, what a rule is
loads.py    what is known of each instance's load            service.py  gathers, asks the rule, remembers
registry.py rules by name; own ones by entry point

A rule opens no socket and reads no clock. This room never calls an instance: it only names one.
"""
