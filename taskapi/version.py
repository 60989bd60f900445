"""The version of this release: pyproject.toml, /openapi.json and the metrics read it here."""

VERSION = "1.0.0"
