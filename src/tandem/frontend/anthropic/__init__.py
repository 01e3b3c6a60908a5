"""Anthropic's Messages, on top of the processor's chat.

requests.py  what clients send                       answers.py  what they get: messages and events
asking.py    a request → the chat that it means      telling.py  a chat's chunks → events, and events → a message
errors.py    errors in Anthropic's form              service.py  the routes

Translation only: one conversation goes the same way to the workers whichever API it came by.
"""
