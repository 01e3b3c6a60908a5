"""One port to every inference engine. An engine is a dependency; what joins engines is ours.

ports.py      what an engine does and says        vllm.py + vllm_*.py   real vLLM, 0.32 on a CPU, 0.26 on an H200
simulated*.py a timed model of an engine with a real block cache       registry.py  `engine: NAME` → adapter, by entry point
"""
