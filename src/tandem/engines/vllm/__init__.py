"""Real vLLM: 0.32 on a CPU, 0.26 on a GPU host. Importing this package imports nothing heavy."""
