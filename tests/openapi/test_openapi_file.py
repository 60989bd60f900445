"""Mistakes in openapi.yaml that a parser of YAML lets pass."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

import taskapi.openapi
from tests.support.openapi import DOCUMENT

TEXT = Path(taskapi.openapi.__file__).with_name("openapi.yaml").read_text("utf-8")


def nodes(node: yaml.Node) -> Iterator[yaml.Node]:
    """Yield a node and all below it."""
    yield node
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from (found for part in pair for found in nodes(part))
    elif isinstance(node, yaml.SequenceNode):
        for part in node.value:
            yield from nodes(part)


def test_no_key_is_given_twice() -> None:
    """The last one would win."""
    root = yaml.compose(TEXT, Loader=yaml.SafeLoader)
    assert root is not None
    for node in nodes(root):
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value]
            assert len(set(keys)) == len(keys), (node.start_mark, keys)


def test_it_holds_what_json_has() -> None:
    """A status or a timestamp without quotes would be a number or a datetime."""
    document = yaml.safe_load(TEXT)
    assert json.loads(json.dumps(document)) == document
    document["info"]["version"] = DOCUMENT["info"]["version"]
    assert document == DOCUMENT


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for part in value.values():
            yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


def test_each_component_is_used() -> None:
    components = {
        f"#/components/{kind}/{name}"
        for kind, named in DOCUMENT["components"].items()
        for name in named
        if kind != "securitySchemes"
    }
    assert components == set(references(DOCUMENT))
