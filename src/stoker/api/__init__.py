"""The REST API, the OpenAI-compatible API and the gateway, in one ASGI application (see `server`)."""
