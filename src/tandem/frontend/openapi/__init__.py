"""What the front door takes and answers, as an OpenAPI document: made from the route table and the types that decode.

document.py  routes → paths    schemas.py  types → schemas    parameters.py  what stands in a path, a query, a header

Nothing is described by hand that the code knows: a new field of a request is in the document because it is decoded.
"""
