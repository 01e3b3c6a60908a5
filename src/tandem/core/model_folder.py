"""Names by which a model folder tells whether it is whole: pulls write them, whoever waits for a model looks."""

MANIFEST = ".tandem-model.json"
"""Written last, when the model is whole."""
PULLING = ".tandem-pull"
"""A folder that is there while a pull is under way."""
PUSHING = ".tandem-push.json"
"""The same of a push, in a bucket."""
