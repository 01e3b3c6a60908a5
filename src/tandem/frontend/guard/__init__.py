"""Who may come in, with how much, and when it is too much.

keys.py      keys, known by their hash; the file that lists them    quotas.py     requests and tokens per minute and day
keyring.py   the keys in use: the file read anew when it changes    admission.py  overload: who waits outside
bounds.py    sizes and depths of what a request says                json_text.py  duplicate names and depth of JSON

Deciding is pure: `keyring.py` alone reads a file, and clocks are passed in.
"""
