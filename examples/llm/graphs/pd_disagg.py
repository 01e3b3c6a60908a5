"""The guide's graph: the front only. Prefill and decode workers are served by commands of their own."""

from components.frontend import Frontend
from components.kv_router import Router
from components.processor import Processor

Frontend.link(Processor).link(Router)
