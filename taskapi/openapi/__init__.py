"""The API's description: openapi.yaml, and the routes that serve it."""
