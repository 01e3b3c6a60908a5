"""Builders and a cluster in one event loop, for Tandem's tests and for yours. May import anything; nothing imports it."""
