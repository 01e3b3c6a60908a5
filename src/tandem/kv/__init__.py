"""KV blocks as routers see them: what a block is called, who holds which, and how that is told.

blocks.py  a prompt's blocks as chained hashes          holders.py  sets of holders, each stored once
index.py   who holds which block: one packed table      ledger.py   a worker's side: its engine's blocks by our names
feed.py    a router's side: order, gaps and repair of what one worker tells

Engine hashes stay with the worker that got them: what crosses the bus are our names, eight bytes a block.
"""
