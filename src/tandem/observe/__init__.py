"""What Tandem says about itself: metrics, log lines, and the story of each request.

metrics.py      the one table of metrics         stages.py     names of the stages of a request's story
instruments.py  what counts                      stories.py    the stories themselves, bounded
logs.py         log lines and their levels       reference.py  makes docs/reference/metrics.md from the tables

Nothing here opens a socket or knows what it measures. No prompt, no answer and no key is written down.
"""
