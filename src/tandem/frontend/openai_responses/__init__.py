"""OpenAI's Responses, on top of the processor's chat, without a memory of earlier ones.

requests.py  what clients send                       answers.py  what they get: a response, its items and events
asking.py    a request → the chat that it means      telling.py  a chat's chunks → events, the last with the response
service.py   the routes

Translation only: one conversation goes the same way to the workers whichever API it came by.
"""
