"""A method that vLLM mixes into its worker class, in the engine's own process, for `collective_rpc`."""

from typing import Any


class HandoffRelease:
    """Frees pinned blocks of hand-offs that nobody will read, on the engine that made them.

    vLLM's own way goes through a decode engine, which may be dead or not exist; left alone, the blocks stay
    until the lease ends.
    """

    def tandem_release_handoffs(self, request_ids: list[str]) -> int:
        """Count of those that were still pinned. Their blocks are free after the engine's next step."""
        from vllm.distributed.kv_transfer import get_kv_transfer_group

        released = 0
        for worker in _nixl_workers(get_kv_transfer_group()):
            for request_id in request_ids:
                if request_id not in worker._reqs_to_send:
                    continue
                released += 1
                done = getattr(worker, "_replicated_pcp_done_sending", None)
                if done is None:  # vLLM 0.26: let the lease end now; it looks at the first entry only
                    others = {name: end for name, end in worker._reqs_to_send.items() if name != request_id}
                    worker._reqs_to_send.clear()
                    worker._reqs_to_send.update({request_id: 0.0, **others})
                    continue
                del worker._reqs_to_send[request_id]
                worker._reqs_to_process.discard(request_id)
                done.add(request_id)
        return released


def _nixl_workers(connector: Any) -> list[Any]:
    """The NIXL part of a connector, which may be several in one."""
    parts = getattr(connector, "_connectors", [connector])
    workers = [getattr(part, "connector_worker", None) for part in parts]
    return [worker for worker in workers if hasattr(worker, "_reqs_to_send")]
