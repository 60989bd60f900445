"""The API's document (OpenAPI 3.1): paths from the URL map, bodies and queries from the schemas."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import orjson
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from flask.sansio.app import App
from marshmallow import Schema, fields

from taskapi import schemas
from taskapi.errors import ANSWERS, SENTENCES
from taskapi.version import VERSION

# Routes that are no part of the API: the document itself, the page that shows it, and what
# operators keep from the public. A test says that every other route is in the document.
UNDOCUMENTED = {"docs.document", "docs.page", "docs.asset", "metrics.show_metrics"}

DESCRIPTION = """\
Keeps each user's tasks.

**Start** by signing up and logging in. Send the token that you get with every request about tasks,
as `Authorization: Bearer …`, and use the `user_id` that comes with it in the path. On this page:
press *Authorize* and paste the token.

**Errors** are `{"detail": "A sentence."}`; a 422 lists each fault with the place where it is. Every
answer bears `X-Request-ID`; quote it when you report a problem.

**A wrong method** is answered with 405 and `Allow`, a path that isn't listed here with 404. HEAD is
answered wherever GET is. A body is JSON in UTF-8 of at most 64 KiB. Members and parameters that
a call doesn't know are ignored, so that you may send back the object that you were given.
"""

USER_ID = "6f1c1d8e-2f0b-4c3a-9d51-0d8f5b7a2c11"
TASK_ID = "c2a8f6f0-51d4-4f0e-8f3b-7d0a9e4b6f22"
CREATED_AT = "2026-03-01T09:30:00.123456Z"
TASK = {
    "id": TASK_ID,
    "user_id": USER_ID,
    "title": "Buy milk",
    "description": "two litres",
    "completed": False,
    "created_at": CREATED_AT,
    "updated_at": CREATED_AT,
}
ACCOUNT = {"user_id": USER_ID, "email": "ann@example.com"}
CREDENTIALS = {"email": "ann@example.com", "password": "a long password"}

UUID = {"type": "string", "format": "uuid", "examples": [TASK_ID]}
TIMESTAMP = {
    "type": "string",
    "format": "date-time",
    "description": "UTC with microseconds (RFC 3339), made by the database.",
    "examples": [CREATED_AT],
}


def _object(description: str, /, **properties: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an answer: it always has all of its members."""
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": list(properties),
    }


def _string(description: str, /, **rest: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, **rest}


# What is answered. No schema of marshmallow writes it: the rows go from PostgreSQL to orjson.
ANSWERED = {
    "Account": _object("An account.", user_id=UUID, email=_string("As it was given at sign-up.")),
    "Login": _object(
        "A login: who you are, and the token that proves it.",
        user_id=UUID,
        email=_string("As it was given at sign-up."),
        token=_string("A JSON Web Token (RFC 7519). Keep it secret."),
        token_type={"type": "string", "const": "Bearer"},
        expires_in={"type": "integer", "minimum": 1, "description": "Seconds from now."},
    ),
    "Task": _object(
        "A task.",
        id=UUID,
        user_id=UUID,
        title=_string("What is to be done.", minLength=1, maxLength=500),
        description={"type": ["string", "null"], "maxLength": 10_000},
        completed={"type": "boolean"},
        created_at=TIMESTAMP,
        updated_at=TIMESTAMP
        | {"description": "As `created_at`; grows with every change, and in quotes is the `ETag`."},
    ),
    "Status": _object("All is well.", status={"type": "string", "const": "ok"}),
    "Index": _object(
        "What answers here, and where things are.",
        name={"type": "string"},
        version={"type": "string"},
        links={"type": "object", "additionalProperties": {"type": "string"}},
    ),
    "Error": _object("What is wrong, in a sentence.", detail={"type": "string", "minLength": 1}),
    "Faults": _object(
        "All that is wrong with the request.",
        detail={
            "type": "array",
            "minItems": 1,
            "items": _object(
                "One fault.",
                loc={
                    "type": "array",
                    "minItems": 1,
                    "items": {"type": "string"},
                    "description": "`body`, `path`, `query` or `header`, then the member's name.",
                },
                msg=_string("What is wrong with it."),
                type={"type": "string", "enum": ["value_error", "value_error.missing"]},
            ),
        },
    ),
}

HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {
        "description": "The request's own, or a new one: it is in our log too.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
    },
    "ETag": {
        "description": "The version: send it as `If-Match` to change or delete only this one, as "
        "`If-None-Match` to read only another one.",
        "schema": {"type": "string", "pattern": '^"[^"]+"$', "examples": [f'"{CREATED_AT}"']},
    },
    "Location": {
        "description": "The path of the new task.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Link": {
        "description": 'The next page, `<…>; rel="next"` (RFC 8288). Not there on the last one.',
        "required": False,
        "schema": {"type": "string"},
    },
    "Idempotency-Replayed": {
        "description": "There if an earlier request with this key has made the task.",
        "required": False,
        "schema": {"type": "string", "const": "true"},
    },
    "WWW-Authenticate": {
        "description": "The scheme that is wanted (RFC 6750).",
        "schema": {"type": "string", "const": "Bearer"},
    },
    "Retry-After": {
        "description": "Seconds after which to try again.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "Accept-Patch": {
        "description": "The media types that PATCH takes (RFC 5789).",
        "schema": {"type": "string"},
    },
}

# X-Request-ID takes anything: what can't be used is replaced.
PARAMETERS = {
    "X-Request-ID": _string(
        "An id of your own for this request, which the answer and our log will bear: 1 to 128 of "
        "`A-Za-z0-9._-`. Any other is replaced by one of ours."
    ),
    "If-Match": _string(
        'Do it only if the task is still in this version, such as `"2026-03-01T09:30:00.123456Z"`; '
        "several, comma-separated, or `*` for any. What can't be read as one matches none."
    ),
    "If-None-Match": _string("Answer 304, without a body, if this is still the version."),
    "Idempotency-Key": _string(
        "Makes it safe to repeat this request until it is answered: one task is made. Use a new "
        "key, such as a UUID, for each task. Kept at least 24 hours.",
        pattern="^[!-~]{1,255}$",
    ),
}

# Errors by their name in the document: status, what it means, and headers besides X-Request-ID.
ERRORS: dict[str, tuple[int, str, list[str]]] = {
    "NotJson": (400, "The body is not JSON.", []),
    "Unauthorized": (
        401,
        "No token, or one that is invalid or expired.",
        ["WWW-Authenticate"],
    ),
    "WrongCredentials": (401, "No account has this email and password.", ["WWW-Authenticate"]),
    "Forbidden": (403, "The path names another user than the token.", []),
    "TaskNotFound": (404, "You have no such task.", []),
    "EmailTaken": (409, "The address has an account already: log in.", []),
    "EmailOfAnotherUser": (
        409,
        "Your identity provider's token bears an address that has another account here. "
        "Never answered to a token of our own.",
        [],
    ),
    "LengthRequired": (411, "The request doesn't say how long its body is.", []),
    "TaskChanged": (412, "The task has changed since: read it again.", []),
    "TooLarge": (413, "The body is larger than 64 KiB.", []),
    "NotDeclaredAsJson": (415, "The body isn't declared as JSON.", []),
    "PatchNotDeclaredAsJson": (415, "The body isn't declared as JSON.", ["Accept-Patch"]),
    "Invalid": (422, "Something in the request is wrong: `detail` says what and where.", []),
    "TooManyFailedLogins": (
        429,
        "Within a minute 5 logins have failed for this address, or 20 from your client.",
        ["Retry-After"],
    ),
    "Defect": (500, "A defect of ours: report it with the `X-Request-ID`.", []),
    "Unavailable": (
        503,
        "The database is away or too slow, or there are too many logins at once. A write may have "
        "been done all the same.",
        ["Retry-After"],
    ),
    "NotReady": (
        503,
        "The database can't be reached, or lacks migrations of this release.",
        ["Retry-After"],
    ),
}

FAULT = {"loc": ["body", "title"], "msg": "Field required", "type": "value_error.missing"}

# The errors that a class of exceptions doesn't name: the framework's own, and the generic ones.
NAMED_BY = {
    "Unauthorized": "MissingToken",
    "WrongCredentials": "InvalidCredentials",
    "Forbidden": "AccessDenied",
    "Unavailable": "DatabaseUnavailable",
    "NotReady": "MigrationsPending",
}

ALWAYS = ["Defect"]
BODY = ["NotJson", "LengthRequired", "TooLarge", "NotDeclaredAsJson", "Invalid"]
OF_A_USER = ["Unauthorized", "Forbidden", "Invalid", "Unavailable"]
OF_A_TASK = [*OF_A_USER, "TaskNotFound"]
ANY_VERSION = [*OF_A_TASK, "TaskChanged"]


def _answer(description: str, value: Any, schema: str | dict[str, Any], *headers: str) -> Any:
    """Return a response that holds JSON."""
    return {
        "description": description,
        "headers": _headers(*headers),
        "content": {"application/json": {"schema": _schema(schema), "example": value}},
    }


def _headers(*names: str) -> dict[str, Any]:
    names = ("X-Request-ID", *names)
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _schema(schema: str | dict[str, Any]) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{schema}"} if isinstance(schema, str) else schema


def _body(
    schema: type[Schema],
    examples: dict[str, Any],
    *media_types: str,
    required: bool = True,
) -> dict[str, Any]:
    content = {
        "schema": schema,
        "examples": {
            name.replace(" ", "-"): {"summary": name, "value": value}
            for name, value in examples.items()
        },
    }
    media_types = media_types or ("application/json",)
    return {"required": required, "content": dict.fromkeys(media_types, content)}


def _task(description: str, *headers: str, **members: Any) -> Any:
    return _answer(description, TASK | members, "Task", "ETag", *headers)


NOT_MODIFIED = {"description": "It is what you have already.", "headers": _headers("ETag")}
CHANGED_AT = "2026-03-01T10:00:00.654321Z"


def _link(operation: str, description: str, **rest: Any) -> dict[str, Any]:
    ids = {"user_id": "$response.body#/user_id", "id": "$response.body#/id"}
    return {"operationId": operation, "description": description, "parameters": ids} | rest


# What can be done with a task that was just made, and where its ids go.
TASK_LINKS = {
    "read": _link("get_task", "Read it."),
    "replace": _link("update_task", "Change its title and description."),
    "patch": _link("patch_task", "Change some of it."),
    "complete": _link("complete_task", "Toggle or set `completed`."),
    "delete": _link("delete_task", "Delete it."),
}
OF_USER = {"user_id": "$response.body#/user_id"}

# What Python takes for white space and JavaScript doesn't, with U+0000, which is never allowed.
BLANK = r"\s\u0000\u001c-\u001f\u0085"

# By endpoint. The path, the method and the summary come from the view.
OPERATIONS: dict[str, dict[str, Any]] = {
    "auth.sign_up": {
        "tags": ["Accounts"],
        "security": [],
        "requestBody": _body(schemas.SignupSchema, {"an account": CREDENTIALS}),
        "responses": {
            "201": _answer("The account.", ACCOUNT, "Account")
            | {
                "links": {
                    "log in": {
                        "operationId": "log_in",
                        "description": "Get a token.",
                        "requestBody": {
                            "email": "$response.body#/email",
                            "password": "$request.body#/password",
                        },
                    }
                }
            }
        },
        "errors": [*BODY, "EmailTaken", "Unavailable"],
    },
    "auth.log_in": {
        "tags": ["Accounts"],
        "description": "At most 5 logins a minute may fail for an address, and 20 from a client.",
        "security": [],
        "requestBody": _body(schemas.LoginSchema, {"an account": CREDENTIALS}),
        "responses": {
            "200": _answer(
                "The token.",
                ACCOUNT | {"token": "eyJhbGciOi…", "token_type": "Bearer", "expires_in": 604_800},
                "Login",
            )
            | {
                "links": {
                    "tasks": {
                        "operationId": "list_tasks",
                        "description": "List the tasks of who logged in.",
                        "parameters": OF_USER,
                    }
                }
            }
        },
        "errors": [*BODY, "WrongCredentials", "TooManyFailedLogins", "Unavailable"],
    },
    "tasks.create_task": {
        "tags": ["Tasks"],
        "parameters": ["Idempotency-Key"],
        "requestBody": _body(
            schemas.CreateTaskSchema,
            {
                "a title": {"title": "Buy milk"},
                "all members": {
                    "title": "Buy milk",
                    "description": "two litres",
                    "completed": False,
                },
            },
        ),
        "responses": {
            "201": _task("The new task.", "Location", "Idempotency-Replayed")
            | {"links": TASK_LINKS}
        },
        "errors": [*OF_A_USER, *BODY, "EmailOfAnotherUser"],
    },
    "tasks.list_tasks": {
        "tags": ["Tasks"],
        "description": "A usual list comes whole. If there is more, `Link` leads to the next page; "
        "what is made or deleted meanwhile makes no other task come twice or be left out.",
        "parameters": [
            {"in": "query", "schema": schemas.ListTasksSchema},
            "If-None-Match",
        ],
        "responses": {
            "200": _answer(
                "A page of tasks.",
                [TASK],
                {"type": "array", "maxItems": 1000, "items": _schema("Task")},
                "ETag",
                "Link",
            ),
            "304": NOT_MODIFIED | {"headers": _headers("ETag", "Link")},
        },
        "errors": OF_A_USER,
    },
    "tasks.get_task": {
        "tags": ["Tasks"],
        "parameters": ["If-None-Match"],
        "responses": {"200": _task("The task."), "304": NOT_MODIFIED},
        "errors": OF_A_TASK,
    },
    "tasks.update_task": {
        "tags": ["Tasks"],
        "description": "`completed` stays as it is. A description that is left out stays too.",
        "parameters": ["If-Match"],
        "requestBody": _body(
            schemas.UpdateTaskSchema,
            {
                "a title": {"title": "Buy oat milk"},
                "no description any more": {"title": "Buy oat milk", "description": None},
            },
        ),
        "responses": {
            "200": _task("The task as it is now.", title="Buy oat milk", updated_at=CHANGED_AT)
        },
        "errors": [*ANY_VERSION, *BODY],
    },
    "tasks.patch_task": {
        "tags": ["Tasks"],
        "description": "JSON Merge Patch (RFC 7396): what is left out stays as it is. Two clients "
        "who change different members at once both succeed.",
        "parameters": ["If-Match"],
        "requestBody": _body(
            schemas.PatchTaskSchema,
            {
                "done": {"completed": True},
                "no description any more": {"description": None},
            },
            *schemas.MERGE_PATCH,
        ),
        "responses": {
            "200": _task("The task as it is now.", completed=True, updated_at=CHANGED_AT)
        },
        "errors": [
            *ANY_VERSION,
            *(error for error in BODY if error != "NotDeclaredAsJson"),
            "PatchNotDeclaredAsJson",
        ],
    },
    "tasks.complete_task": {
        "tags": ["Tasks"],
        "description": "Without a body it is toggled. Say what it shall be, and a retry is safe.",
        "parameters": ["If-Match"],
        "requestBody": _body(
            schemas.CompleteTaskSchema, {"done": {"completed": True}}, required=False
        ),
        "responses": {
            "200": _task("The task as it is now.", completed=True, updated_at=CHANGED_AT)
        },
        "errors": [*ANY_VERSION, *BODY],
    },
    "tasks.delete_task": {
        "tags": ["Tasks"],
        "parameters": ["If-Match"],
        "responses": {"204": {"description": "It is gone for good.", "headers": _headers()}},
        "errors": ANY_VERSION,
    },
    "index.index": {
        "tags": ["Service"],
        "security": [],
        "responses": {
            "200": _answer(
                "Where things are.",
                {"name": "taskapi", "version": VERSION, "links": {"health": "/health"}},
                "Index",
            )
        },
        "errors": [],
    },
    "health.health": {
        "tags": ["Service"],
        "security": [],
        "responses": {"200": _answer("It lives.", {"status": "ok"}, "Status")},
        "errors": [],
    },
    "health.ready": {
        "tags": ["Service"],
        "security": [],
        "responses": {"200": _answer("It can serve.", {"status": "ok"}, "Status")},
        "errors": ["NotReady"],
    },
}


def build_document(app: App) -> bytes:
    """Return the document of the application's routes, as indented JSON."""
    marshmallow = MarshmallowPlugin(schema_name_resolver=_name_schema)
    spec = APISpec(
        title="taskapi",
        version=VERSION,
        openapi_version="3.1.1",
        plugins=[marshmallow],
        info={"description": DESCRIPTION},
        servers=[{"url": "/", "description": "Where this document was read."}],
        security=[{"token": []}],
        tags=[
            {"name": "Accounts", "description": "Sign up, and log in for a token."},
            {"name": "Tasks", "description": "The tasks of the user that the token names."},
            {"name": "Service", "description": "Where things are, and whether they work."},
        ],
    )
    converter = marshmallow.converter
    assert converter is not None
    converter.map_to_openapi_type(schemas.Text, "string", None)
    converter.map_to_openapi_type(schemas.Flag, "boolean", None)
    converter.map_to_openapi_type(schemas.QueryFlag, "boolean", None)
    converter.map_to_openapi_type(schemas.QueryInteger, "integer", None)
    converter.add_attribute_function(_describe_strictness)
    spec.components.security_scheme(
        "token",
        {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The `token` of a login.",
        },
    )
    for name, schema in ANSWERED.items():
        spec.components.schema(name, schema)
    for name, header in HEADERS.items():
        spec.components.header(name, {"required": True} | header)
    for name, schema in PARAMETERS.items():
        spec.components.parameter(name, "header", {"name": name, "schema": schema})
    for name in ("user_id", "id"):
        path_parameter = {"name": name, "required": True, "schema": UUID}
        spec.components.parameter(name, "path", path_parameter)
    for name, (status, description, headers) in ERRORS.items():
        spec.components.response(
            name,
            _answer(
                description,
                {"detail": [FAULT] if status == 422 else _sentence(name, status)},
                "Faults" if status == 422 else "Error",
                *headers,
            ),
        )
    for endpoint in OPERATIONS:
        _add_operation(spec, app, endpoint)
    return orjson.dumps(spec.to_dict(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _add_operation(spec: APISpec, app: App, endpoint: str) -> None:
    operation = deepcopy(OPERATIONS[endpoint])  # the plugin writes into it
    [rule] = app.url_map.iter_rules(endpoint)
    [method] = (rule.methods or set()) - {"HEAD", "OPTIONS"}
    arguments = [*(part for part in ("user_id", "id") if part in rule.arguments)]
    errors = dict.fromkeys([*operation.pop("errors"), *ALWAYS])
    operation |= {
        "operationId": endpoint.partition(".")[2],
        "summary": (app.view_functions[endpoint].__doc__ or "").partition("\n")[0],
        "parameters": [*arguments, *operation.get("parameters", []), "X-Request-ID"],
        "responses": operation["responses"]
        | {str(ERRORS[name][0]): name for name in sorted(errors, key=lambda name: ERRORS[name][0])},
    }
    path = rule.rule.replace("<", "{").replace(">", "}")
    spec.path(path, operations={method.lower(): operation})


def _sentence(name: str, status: int) -> str:
    """Return what the service answers in this case."""
    by_name = {error.__name__: answer.detail for error, answer in ANSWERS.items()}
    return by_name.get(NAMED_BY.get(name, name)) or SENTENCES[status]


def _name_schema(schema: type[Schema]) -> str:
    """Name a request's schema apart from the answer's: `LoginSchema` is `LoginRequest`."""
    name = schema if isinstance(schema, str) else getattr(schema, "__name__", type(schema).__name__)
    return name.removesuffix("Schema") + "Request"


def _describe_strictness(
    _converter: OpenAPIConverter, field: fields.Field[Any], ret: dict[str, Any], **_: Any
) -> dict[str, Any]:
    """Add what our fields check by themselves, and drop what isn't so for clients."""
    if ret.get("default", "") is None:
        # Stands for "not sent", which null is not.
        del ret["default"]
        ret["type"] = next(name for name in ret["type"] if name != "null")
    if isinstance(field, schemas.Flag):
        # Generators of clients take a member of a body with a default for one that must be sent.
        ret.pop("default", None)
    if isinstance(field, schemas.QueryInteger):
        return {"minimum": field.low, "maximum": field.high}
    if isinstance(field, schemas.Title):
        return {"pattern": rf"^[^\u0000]*[^{BLANK}][^\u0000]*$"}
    if "pattern" in ret:
        # Python's spelling of an anchored pattern is not JavaScript's, which JSON Schema wants.
        pattern = ret["pattern"].replace(r"\Z", "$").replace(r"[^@\s]", f"[^@{BLANK}]")
        return {"pattern": f"^{pattern}"}
    if isinstance(field, schemas.StoredText):
        return {"pattern": r"^[^\u0000]*$"}
    return {}
