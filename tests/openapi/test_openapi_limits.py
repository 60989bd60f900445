"""The limits in openapi.yaml are those that the schemas check."""

from __future__ import annotations

import re
import sys
import unicodedata
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from marshmallow import Schema, ValidationError, fields, missing, validate

from taskapi.accounts.schemas import (
    ChangePasswordSchema,
    CloseAccountSchema,
    LoginSchema,
    SignupSchema,
    refuse_common_password,
)
from taskapi.tasks.schemas import (
    BatchSchema,
    CompleteTaskQuerySchema,
    CompleteTaskSchema,
    CreateOperationSchema,
    CreateTaskSchema,
    DeleteOperationSchema,
    ListChangesSchema,
    ListTasksSchema,
    PatchTaskSchema,
    UpdateOperationSchema,
    UpdateTaskSchema,
)
from taskapi.web.fields import (
    INVISIBLE,
    NOT_IN_A_LINE,
    Array,
    Date,
    Flag,
    Identifier,
    Integer,
    QueryFlag,
    QueryInteger,
    SingleLine,
    StoredText,
    Text,
    TextSet,
)
from tests.support.openapi import DOCUMENT, resolve

SCHEMAS = [
    SignupSchema(),
    LoginSchema(),
    ChangePasswordSchema(),
    CloseAccountSchema(),
    CreateTaskSchema(),
    UpdateTaskSchema(),
    PatchTaskSchema(),
    CompleteTaskSchema(),
    BatchSchema(),
    CreateOperationSchema(),
    UpdateOperationSchema(),
    DeleteOperationSchema(),
]
# Which a pattern of JSON Schema writes for JavaScript, whose \s lacks some of Python's white space.
BLANK = r"\s\u0000\u001c-\u001f\u0085"
# What str.strip() removes, spelled out for the same reason.
STRIPPED = (
    r"\u0009-\u000d\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
)
# The classes of Unicode's bidirectional algorithm that change the direction of what follows.
DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
TYPES: dict[type[fields.Field[Any]], str] = {
    Text: "string",
    StoredText: "string",
    SingleLine: "string",
    Flag: "boolean",
    QueryFlag: "boolean",
    QueryInteger: "integer",
    Identifier: "string",
    Array: "array",
    Integer: "integer",
    Date: "string",
    TextSet: "array",
}
DIGIT = "[0-9A-Fa-f]"
UUID = "^" + "-".join(f"{DIGIT}{{{count}}}" for count in (8, 4, 4, 4, 12)) + "$"


def name_in_document(schema: Schema) -> str:
    name = type(schema).__name__.removesuffix("Schema")
    return name if name.endswith("Operation") else name + "Request"


def describe(field: fields.Field[Any]) -> dict[str, Any]:
    """Return what a schema of the document must say of a field."""
    kind: Any = TYPES[type(field)]
    # A default of None stands for an absent parameter, which a client can't send.
    nullable = field.allow_none and field.load_default is not None
    said: dict[str, Any] = {"type": [kind, "null"] if nullable else kind}
    if isinstance(field, QueryInteger | Integer):
        said |= {"minimum": field.low, "maximum": field.high}
    if isinstance(field, Identifier):
        said |= {"format": "uuid", "pattern": UUID}
    if isinstance(field, Date):
        said |= {"format": "date", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}
    if isinstance(field, TextSet):
        trimmed = rf"[^\u0000{STRIPPED}]"
        element = {"type": "string", "minLength": field.low, "maxLength": field.high}
        element["pattern"] = rf"^{trimmed}([^\u0000]*{trimmed})?$"
        said |= {"maxItems": field.most, "uniqueItems": True, "items": element}
    if isinstance(field, StoredText):
        said["pattern"] = r"^[^\u0000]*$"
    if isinstance(field, SingleLine):
        # Python's escape for what is above U+FFFF is not JavaScript's: the document has characters.
        invisible = re.sub(r"\\U([0-9a-f]{8})", lambda code: chr(int(code[1], 16)), INVISIBLE)
        line = rf"[^{NOT_IN_A_LINE}]*"
        said["pattern"] = rf"^[{STRIPPED}]*{line}[^{invisible}]{line}[{STRIPPED}]*$"
    return said | describe_validators(field)


def describe_validators(field: fields.Field[Any]) -> dict[str, Any]:
    """Return what a field's validators add to that."""
    said: dict[str, Any] = {}
    for validator in field.validators:
        if isinstance(validator, validate.Length):
            what = "Items" if isinstance(field, Array) else "Length"
            limits = {f"min{what}": validator.min, f"max{what}": validator.max}
            said |= {name: limit for name, limit in limits.items() if limit is not None}
        elif isinstance(validator, validate.OneOf):
            said["enum"] = list(validator.choices)
        elif isinstance(validator, validate.Equal):
            said["const"] = validator.comparable
        elif isinstance(validator, validate.Regexp):
            pattern = (
                str(validator.regex.pattern).replace(r"\Z", "$").replace(r"[^@\s]", f"[^@{BLANK}]")
            )
            said["pattern"] = f"^{pattern}"
        elif validator is refuse_common_password:
            pass  # too many for a schema
        else:
            raise AssertionError(f"a kind of validator that this test doesn't know: {validator}")
    return said


def assert_says(said: dict[str, Any], field: fields.Field[Any], name: str) -> None:
    names = {"x-enum-varnames", "x-enum-descriptions"}
    wording = {"description", "examples", "default"} | names
    if not isinstance(field, TextSet):
        wording |= {"items"}
    limits = {key: value for key, value in said.items() if key not in wording}
    assert limits == describe(field), name


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: type(schema).__name__)
def test_a_body_has_the_schemas_members_and_limits(schema: Schema) -> None:
    name = name_in_document(schema)
    said = DOCUMENT["components"]["schemas"][name]
    assert set(said["properties"]) == set(schema.fields)
    required = {name for name, field in schema.fields.items() if field.required}
    assert set(said.get("required", [])) == required
    for member, field in schema.fields.items():
        assert_says(said["properties"][member], field, member)


@pytest.mark.parametrize(
    ("path", "method", "schema"),
    [
        ("/api/{user_id}/tasks", "get", ListTasksSchema()),
        ("/api/{user_id}/tasks/changes", "get", ListChangesSchema()),
        ("/api/{user_id}/tasks/{id}/complete", "patch", CompleteTaskQuerySchema()),
    ],
)
def test_a_query_has_the_schemas_parameters_limits_and_defaults(
    path: str, method: str, schema: Schema
) -> None:
    given = DOCUMENT["paths"][path][method]["parameters"]
    said = {p["name"]: p for p in map(resolve, given) if p["in"] == "query"}
    assert set(said) == set(schema.fields)
    for name, field in schema.fields.items():
        assert_says(said[name]["schema"], field, name)
        default = None if field.load_default is missing else field.load_default
        assert said[name]["schema"].get("default") == default
        assert not said[name].get("required", False)


def test_a_task_has_the_limits_that_it_was_created_with() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    task, created = schemas["Task"]["properties"], schemas["CreateTaskRequest"]["properties"]
    # The patterns say what is refused; a stored title or description has none of it.
    apart = {"description", "examples", "pattern", "uniqueItems"}

    def limits(member: dict[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in member.items() if key not in apart}
        return {**kept, "items": limits(kept["items"])} if "items" in kept else kept

    for name in created:
        assert limits(task[name]) == limits(created[name]), name


def test_each_body_of_a_request_is_compared() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    compared = {name_in_document(schema) for schema in SCHEMAS}
    assert compared == {name for name in schemas if name.endswith(("Request", "Operation"))}
    compared = {name for name in compared if name.endswith("Request")}
    used = {
        content["schema"]["$ref"].rpartition("/")[2]
        for item in DOCUMENT["paths"].values()
        for operation in item.values()
        for content in operation.get("requestBody", {"content": {}})["content"].values()
    }
    assert used == compared


# What tells the schemas' patterns, lengths and types apart. Not here: strings with white space at
# their ends, which the service counts without it, and lone surrogates, which no pattern names.
VALUES: list[Any] = [
    *(None, True, False, 0, 1, "true", [], {}, ""),
    *("x", "x" * 7, "x" * 8, "x" * 128, "x" * 129, "x" * 500, "x" * 501),
    *("x" * 10_000, "x" * 10_001, "\u00e9" * 500, "\u00e9" * 501),
    *("a\0b", "\0", "a\nb", "a\u0085b", *" \t\n\x1c\x1f\x85\xa0\u2003\u3000"),
    *("a@b", "a@b@c", "@b", "a@", "a b@c", "a\n@b", "a@\x1cb", "a@\x85", "@", "a\0@b"),
    *("x" * 252 + "@b", "x" * 253 + "@b"),
    *("a\x7f", "a\u2028b", "\u202ea", "a\u2066b", "a\u200b", "\u200b", "\u200b \ufeff", "\u2800"),
    *("\U000e0020", "\U0001d173", "\U0001f3f4\U000e0067\U000e007f", "\u2764\ufe0f", "\ufe0f"),
    *("\u05e9\u200f!", "\u0301", "e\u0301", "\ue000", "\uffff", "\u0600", "\u3164", "\u00ad"),
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: type(schema).__name__)
def test_a_member_is_refused_by_both_or_by_none(schema: Schema) -> None:
    name = name_in_document(schema)
    for member, said in DOCUMENT["components"]["schemas"][name]["properties"].items():
        validator = Draft202012Validator(said)
        for value in VALUES:
            refused = bool(schema.validate({member: value}, partial=True))
            assert refused != validator.is_valid(value), (member, value)


def test_the_pattern_of_a_title_agrees_on_every_character() -> None:
    """Alone, and between two letters."""
    title = CreateTaskSchema().fields["title"]
    pattern = re.compile(
        DOCUMENT["components"]["schemas"]["CreateTaskRequest"]["properties"]["title"]["pattern"]
    )

    def is_refused(value: str) -> bool:
        try:
            title.deserialize(value)
        except ValidationError:
            return True
        return False

    # The planes with scripts and symbols, and the start of the one with tags.
    for code in (*range(0x20000), *range(0xE0000, 0xE1001), sys.maxunicode):
        character = chr(code)
        category = unicodedata.category(character)
        if category == "Cs":
            continue
        for value in (character, f"a{character}b"):
            assert is_refused(value) != bool(pattern.search(value)), ascii(value)
        if category in ("Cc", "Cf", "Zs", "Zl", "Zp"):
            assert is_refused(character), ascii(character)
        assert is_refused(f"a{character}b") == (
            category in ("Cc", "Zl", "Zp") or unicodedata.bidirectional(character) in DIRECTIONS
        )
