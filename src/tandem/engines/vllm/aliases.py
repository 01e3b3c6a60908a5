"""Engine keys that were renamed or dropped since guides were written, and keys that mean nothing on a CPU.

Every line that is used ends up in one notice, so that nobody wonders where a setting went.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Alias:
    """What became of a key."""

    now: str | None
    """Its name today, or None: it is left out."""
    why: str


ALIASES = {
    "disable_log_requests": Alias(None, "requests are not logged unless enable-log-requests asks for it"),
    "use_v2_block_manager": Alias(None, "there is only one block manager now"),
    "preemption_mode": Alias(None, "preempted requests are always recomputed"),
    "swap_space": Alias(None, "preempted requests are recomputed, nothing is swapped"),
    "num_scheduler_steps": Alias(None, "the engine schedules every step, asynchronously"),
    "multi_step_stream_outputs": Alias(None, "the engine schedules every step, asynchronously"),
    "disable_async_output_proc": Alias(None, "outputs are always processed beside the engine"),
    "scheduler_delay_factor": Alias(None, "the engine no longer waits before scheduling a prompt"),
    "num_lookahead_slots": Alias(None, "it follows from the speculative configuration"),
    "worker_use_ray": Alias(None, "use distributed-executor-backend"),
    "engine_use_ray": Alias(None, "use distributed-executor-backend"),
    "tokenizer_pool_size": Alias(None, "text is made outside the engine"),
    "tokenizer_pool_type": Alias(None, "text is made outside the engine"),
    "device": Alias(None, "the device is found out"),
    "task": Alias("runner", "renamed"),
    "guided_decoding_backend": Alias(None, "the engine picks the grammar backend; see structured-outputs-config"),
    "max_seq_len_to_capture": Alias(None, "see max-cudagraph-capture-size"),
    "cuda_graph_sizes": Alias("cudagraph_capture_sizes", "renamed"),
    "max_num_partial_prefills": Alias(None, "prompts share a step as far as max-num-batched-tokens allows"),
    "max_long_partial_prefills": Alias(None, "prompts share a step as far as max-num-batched-tokens allows"),
    "calculate_kv_scales": Alias(None, "scales come with the checkpoint"),
    "rope_scaling": Alias("hf_overrides", "given to the model's configuration as rope_parameters"),
    "rope_theta": Alias("hf_overrides", "given to the model's configuration as rope_parameters"),
}

CONNECTOR_ALIASES = {
    "DynamoNixlConnector": "NixlConnector",
    "PyNcclConnector": "NixlConnector",
    "NixlPullConnector": "NixlConnector",
}
"""KV connectors of patched or older engines."""

IGNORED_ON_CPU = {
    "gpu_memory_utilization": "on a CPU it would be a share of all RAM; kv-cache-memory-bytes sizes the cache",
    "compilation_config": "engines on a CPU run without compilation",
    "cudagraph_capture_sizes": "engines on a CPU run without compilation",
    "max_cudagraph_capture_size": "engines on a CPU run without compilation",
    "optimization_level": "engines on a CPU run without compilation",
    "attention_backend": "there is one attention backend on a CPU",
    "cpu_offload_gb": "weights are in RAM already",
    "enable_sleep_mode": "there is no device memory to give back",
    "numa_bind": "threads are left to the operating system",
}
"""Keys whose value is dropped on a CPU."""

ONE_ON_CPU = {
    "tensor_parallel_size": "one process holds the whole model on a CPU",
    "pipeline_parallel_size": "one process holds the whole model on a CPU",
}
"""Keys that are 1 on a CPU whatever is asked for."""
