"""Tandem: serve large language models with prefill and decode apart. Start with README.md's fifteen minutes."""
