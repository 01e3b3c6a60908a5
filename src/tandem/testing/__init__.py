"""Builders and a cluster in one event loop, for Tandem's tests and for yours. Nothing in the product imports it."""
