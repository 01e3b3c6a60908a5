"""What `make bench` runs: figures of this machine, as a table and one JSON line. Never part of the tests."""
