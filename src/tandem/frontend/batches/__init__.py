"""Files, and batches of requests that run when there is room.

objects.py  what clients send and get                lines.py     a batch's input read, its output written
rules.py    what becomes of a line, and how many run  ledger.py    who works on which batch
catalogue.py  files and batches as clients see them  tables.py    what both write, in SQLite
folder.py   files' contents on disk                  upload.py    a form with a file in it, as it comes in
desk.py     one batch worked off                     runner.py    which batches this process works on
answers.py  a line answered like any other request   service.py   the routes

    validating ─► in_progress ─► finalizing ─► completed
        └► failed      └─► cancelling ─► cancelled     └─► expired

Processes that share a folder share its batches: whoever works on one holds it for a while (`ledger.py`), renews
that with every step, and takes over what another has let lapse. A line's answer is written once, whoever brings it.
"""
