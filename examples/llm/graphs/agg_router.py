"""Engines that prefill and decode, chosen by where the prompt's KV is."""

from components.frontend import Frontend
from components.kv_router import Router
from components.processor import Processor
from components.worker import VllmWorker

Frontend.link(Processor).link(Router).link(VllmWorker)
