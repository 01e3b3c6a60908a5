"""One port to every inference engine. An engine is a dependency; what joins engines is ours.

ports.py    what an engine does and says             registry.py  `engine: NAME` → adapter, by entry point
vllm/       real vLLM, 0.32 on a CPU, 0.26 on a GPU  simulated/   a timed model of an engine, with a real block cache
handoffs.py what is checked of a hand-off            vllm_plugin.py  what vLLM itself needs on a CPU, in its processes
"""
