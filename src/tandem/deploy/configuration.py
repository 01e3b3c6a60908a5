"""The services' own configuration, as `tandem serve -f` reads it: a ConfigMap with one file."""

import hashlib
import json
from typing import Any

import yaml

from tandem.deploy.check import several_fronts, tensor_parallel
from tandem.deploy.description import Description, Worker
from tandem.deploy.objects import FRONT_PORT, Object, made

FILE = "service.yaml"
MOUNTED_AT = "/etc/tandem/service"
CONNECTOR = '{"kv_connector":"NixlConnector"}'
_LOAD_FORMATS = {"runai-streamer": "runai_streamer", "fastsafetensors": "fastsafetensors"}


def configuration(wish: Description) -> dict[str, Any]:
    """Sections of the file. Keys of `engine.settings` stand in Common and are taken by both kinds of workers."""
    common: dict[str, Any] = {"model": wish.model_path, "router": wish.router.mode}
    if wish.roles.prefill is not None and wish.engine.kind == "vllm":
        common["kv-transfer-config"] = CONNECTOR
    if wish.engine.loader != "default":
        common["load-format"] = _LOAD_FORMATS[wish.engine.loader]
    common |= wish.engine.settings
    sections: dict[str, Any] = {
        "Common": common,
        "Frontend": _front(wish),
        "Processor": {"common-configs": ["model", "router"]},
    }
    if wish.router.settings:
        sections["Router"] = dict(wish.router.settings)
    disagg: dict[str, Any] = {"remote-prefill": True} if wish.roles.prefill else {}
    if wish.engine.prefill_timeout_s is not None:
        disagg["prefill-timeout-s"] = wish.engine.prefill_timeout_s
    sections["VllmWorker"] = _section(wish, wish.roles.decoder, list(common)) | disagg | wish.roles.decoder.settings
    if (prefill := wish.roles.prefill) is not None:
        sections["PrefillWorker"] = _section(wish, prefill, list(common)) | prefill.settings
    return sections


def _front(wish: Description) -> dict[str, Any]:
    section: dict[str, Any] = {"served-model-name": wish.model.name, "port": FRONT_PORT}
    if several_fronts(wish):
        section["batch-folder"] = "off"  # each pod would know its own files only
    return section | wish.front.settings


def _section(wish: Description, worker: Worker, common: list[str]) -> dict[str, Any]:
    placing: dict[str, Any] = {"workers": worker.workers}
    section: dict[str, Any] = {"common-configs": common, "engine": wish.engine.kind}
    if worker.gpus:
        section["tensor-parallel-size"] = tensor_parallel(worker)
        placing["resources"] = {"gpu": tensor_parallel(worker)}
    return section | {"served-model-name": wish.model.name, "ServiceArgs": placing}


def config_name(wish: Description) -> str:
    return f"{wish.name}-config"


def config_map(wish: Description) -> Object:
    """The ConfigMap of the file."""
    text = yaml.safe_dump(configuration(wish), sort_keys=False, width=110)
    return made("v1", "ConfigMap", config_name(wish), wish, "config", data={FILE: text})


def config_hash(wish: Description) -> str:
    """Stands in the pods' annotations: another configuration makes other pods."""
    return hashlib.sha256(json.dumps(configuration(wish), sort_keys=True).encode()).hexdigest()[:12]
