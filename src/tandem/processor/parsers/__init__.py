"""How models write thoughts and tool calls: readers of many formats, and which one a model speaks.

`ports` says what a reader is. A format is one file: `hermes`, `qwen3_coder`, `llama3`, `pythonic`, `mistral`,
`deepseek`, `harmony` for calls, `thinking` and `harmony` for thoughts. `registry` knows them by name, `choosing`
picks by model card. Readers see a text as it comes, in any portions, in time linear to its length; whatever a
model writes, nothing raises, and what is no call after all stays text.
"""
