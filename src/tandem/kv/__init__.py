"""KV blocks as routers see them: what a block is called, who holds which, and how that is told.

blocks.py  a prompt's blocks as chained hashes          holders.py  sets of holders, each stored once
index.py   who holds which block                        ledger.py   a worker's side: its engine's blocks by our names
table.py   the packed table below it                    feed.py     a router's side: order and gaps of what one tells

Engine hashes stay with the worker that got them: what crosses the bus are our names, eight bytes a block.
"""
