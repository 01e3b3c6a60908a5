"""HTTP in, server-sent events out: the front door.

app.py        the door, and the one place where errors are answered  bodies.py    bytes → typed requests, or why not
routes.py     the route table: every path, declared once             exchange.py  one request and its response
answering.py  one request for an answer, while its client is there   statuses.py  error code → HTTP status, one table
batches/      files, and requests that wait
anthropic/    Anthropic's Messages, as chats
responses.py  JSON and event streams                                 server.py    the socket, opened when ready
protocol.py   one connection: heads within limits                    port.py      its port, taken long before
wire.py       one response on it: direct writes, and that nobody reads it any more

No tokens and no routing here. Whatever a client sends, it gets an answer in OpenAI's form.
"""
