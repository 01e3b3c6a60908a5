"""Text to tokens and back, and the request's way over decode workers.

                    text                                     tokens
template.py     messages → prompt text          rules.py      what a loss means for a request (pure)
model.py        a model folder's text side      generate.py   one sequence over as many instances as it takes
vocabulary.py   token id → bytes                merge.py      n sequences in one stream
detokenize.py   tokens → text, byte-safe        sampling.py   OpenAI's knobs → core's, within the model's limits
stop.py         stop strings                    serving.py    which models the workers serve
reasoning.py    <think>…</think> split off      pieces.py     outputs → pieces of text
tools.py        <tool_call>…</tool_call> read   chat.py, completions.py  pieces → OpenAI's answers

service.py is the shell that the front door calls. This room knows no HTTP and imports no engine.
"""
