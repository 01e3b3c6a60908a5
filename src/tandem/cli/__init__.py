"""Parse, call, print. Results on stdout, notices on stderr, exit status 2 for usage and configuration.

Each command imports what it needs when it is chosen, so that `tandem --help` is there at once.
"""
