"""The server: a model over HTTP with sessions that survive it, the chat page, and other tools' protocols."""
