"""Model folders: fetched, sent, listed, checked, judged.

`names` and `manifest` say what a folder may hold and when it is whole; `plan` decides what is still to move.
`transfer` moves parts on a few threads, `journal` remembers which bytes are there. A place that models come
from or go to is a port (`ports`) with an adapter named after its technology: `huggingface`, `modelscope`,
`s3` (OSS too), `disk`. Only these import clients, and only when they are used. `folder` reads weights'
headers for `tandem.core.model_shape`.
"""
