"""Model folders: fetched, sent, listed, checked, judged.

`names` and `manifest` say what a folder may hold and when it is whole. `pull` and `push` decide what is still
to move and move it with a `crew` of threads; `workspace` remembers which bytes of a pull are there. A place that
models come from or go to is a port (`ports`) with an adapter named after its technology: `huggingface`,
`modelscope`, `s3` (OSS too), `disk`. Only these import clients, and only when they are used. `shelf` looks after
what is here, `folder` reads weights' headers for `tandem.core.model_shape`.
"""
