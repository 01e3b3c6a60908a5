"""Who is there, and how to call them: namespace / component / endpoint / instance.

ports.py     what the rooms above may rely on       rules.py     which instances may be called (pure)
settings.py  which planes, and how to be reached    registry.py  our lease and what is announced on it
service.py   connect() → Runtime                    view.py      the live picture of a component
planes.py    settings → adapters                    calls.py     typed calls and handlers over MessagePack

Nothing here knows what an instance does; nothing above knows which store or bus is in use.
"""
