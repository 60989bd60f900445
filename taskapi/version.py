"""The release; `pyproject.toml` names the same, and a test says so."""

VERSION = "0.1.0"
