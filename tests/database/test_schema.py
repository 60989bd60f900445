"""The schema, read from the catalogue and compared with the contract (T102)."""

from __future__ import annotations

import sys

import psycopg
import pytest
from psycopg import errors


def columns(database: psycopg.Connection, table: str) -> dict[str, tuple[str, bool, str | None]]:
    rows = database.execute(
        """
        SELECT attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid)
        FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
        """,
        [table],
    )
    return {name: (type, not_null, default) for name, type, not_null, default in rows}


def constraints(database: psycopg.Connection, table: str) -> dict[str, str]:
    rows = database.execute(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = %s::regclass AND contype <> 'n'",
        [table],
    )
    return dict(rows.fetchall())


def test_the_columns_are_the_contracts(database: psycopg.Connection) -> None:
    assert columns(database, "users") == {
        "id": ("uuid", True, "gen_random_uuid()"),
        "email": ("text", True, None),
        # Null for the user of an identity provider.
        "password_hash": ("text", False, None),
        "created_at": ("timestamp with time zone", True, "now()"),
    }
    assert columns(database, "tasks") == {
        "id": ("uuid", True, "gen_random_uuid()"),
        "user_id": ("uuid", True, None),
        "title": ("text", True, None),
        "description": ("text", False, None),
        "completed": ("boolean", True, "false"),
        "created_at": ("timestamp with time zone", True, "now()"),
        "updated_at": ("timestamp with time zone", True, "now()"),
        "due_on": ("date", False, None),
        "priority": ("smallint", True, "0"),
        "labels": ("text[]", True, "'{}'::text[]"),
        "position": ("text", False, None),
        "completed_at": ("timestamp with time zone", False, None),
    }
    collation = "SELECT collation_name FROM information_schema.columns"
    collation += " WHERE table_name = 'tasks' AND column_name = 'position'"
    assert database.execute(collation).fetchone() == ("C",)


def test_the_counts_of_logins_and_signups_need_no_disk(database: psycopg.Connection) -> None:
    assert columns(database, "login_attempts") == {
        "key": ("text", True, None),
        "tried_at": ("timestamp with time zone[]", True, None),
        "expires_at": ("timestamp with time zone", True, None),
        # Null for logins.
        "clients": ("text[]", False, None),
    }
    unlogged = "SELECT relpersistence FROM pg_class WHERE oid = 'login_attempts'::regclass"
    assert database.execute(unlogged).fetchone() == ("u",)


def test_keys_and_constraints_have_names_of_our_choosing(database: psycopg.Connection) -> None:
    users = constraints(database, "users")
    assert set(users) == {"users_pkey", "users_email_check"}
    assert users["users_pkey"] == "PRIMARY KEY (id)"
    tasks = constraints(database, "tasks")
    assert set(tasks) == {
        "tasks_pkey",
        "tasks_user_id_fkey",
        "tasks_title_check",
        "tasks_description_check",
        "tasks_due_on_check",
        "tasks_priority_check",
        "tasks_labels_check",
        "tasks_position_check",
        "tasks_completed_at_check",
    }
    assert not any("NOT VALID" in definition for definition in tasks.values())
    assert tasks["tasks_pkey"] == "PRIMARY KEY (user_id, id)"
    foreign_key = "FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE"
    assert tasks["tasks_user_id_fkey"] == foreign_key


def test_the_indexes_are_what_the_queries_need(database: psycopg.Connection) -> None:
    rows = database.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN ('users', 'tasks')"
    )
    found = {name: " ".join(definition.split()) for name, definition in rows}
    assert {name: definition.partition(" USING ")[2] for name, definition in found.items()} == {
        "users_pkey": "btree (id)",
        "users_email_key": "btree (lower(email))",
        "tasks_pkey": "btree (user_id, id)",
        "tasks_user_id_created_at_id_idx": "btree (user_id, created_at DESC, id DESC)",
        "tasks_user_id_updated_at_id_idx": "btree (user_id, updated_at, id)",
        "tasks_user_id_due_on_id_idx": "btree (user_id, ( CASE WHEN (due_on IS NULL) THEN"
        " 'infinity'::date ELSE due_on END), id)",
        "tasks_user_id_position_id_idx": 'btree (user_id, ( CASE WHEN ("position" IS NULL)'
        " THEN '~'::text ELSE \"position\" END), id)",
    }


def test_the_busy_table_is_vacuumed_often(database: psycopg.Connection) -> None:
    (options,) = database.execute(
        "SELECT reloptions FROM pg_class WHERE oid = 'tasks'::regclass"
    ).fetchone() or (None,)
    assert options == [
        "autovacuum_vacuum_scale_factor=0.01",
        "autovacuum_analyze_scale_factor=0.01",
        "autovacuum_vacuum_insert_scale_factor=0.05",
    ]


def test_the_keys_of_repeated_requests_are_kept_without_their_text(
    database: psycopg.Connection,
) -> None:
    assert columns(database, "idempotency_keys") == {
        "user_id": ("uuid", True, None),
        "key": ("text", True, None),
        "request_hash": ("bytea", True, None),
        "task_id": ("uuid", True, None),
        "created_at": ("timestamp with time zone", True, "now()"),
    }
    keys = constraints(database, "idempotency_keys")
    assert set(keys) == {
        "idempotency_keys_pkey",
        "idempotency_keys_user_id_fkey",
        "idempotency_keys_key_check",
        "idempotency_keys_request_hash_check",
    }
    assert keys["idempotency_keys_pkey"] == "PRIMARY KEY (user_id, key)"
    foreign_key = "FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE"
    assert keys["idempotency_keys_user_id_fkey"] == foreign_key


def new_user(database: psycopg.Connection) -> str:
    row = database.execute(
        "INSERT INTO users (email, password_hash) VALUES (gen_random_uuid() || '@b', '!')"
        " RETURNING id"
    ).fetchone()
    assert row is not None
    return str(row[0])


def insert_task(database: psycopg.Connection, title: str, description: str | None = None) -> None:
    database.execute(
        "INSERT INTO tasks (user_id, title, description) VALUES (%s, %s, %s)",
        [new_user(database), title, description],
    )


@pytest.mark.parametrize("title", ["", "x" * 501, " x", "x\n", "\u3000x"])
def test_the_database_refuses_a_title_that_the_service_would(
    database: psycopg.Connection, title: str
) -> None:
    with pytest.raises(errors.CheckViolation):
        insert_task(database, title)


def test_the_database_trims_what_python_trims(database: psycopg.Connection) -> None:
    """Else a title that the service lets through would be a 500, or a blank one would get in."""
    user_id = new_user(database)
    accepted = set()
    spaces = {chr(code) for code in range(sys.maxunicode) if chr(code).isspace()}
    suspects = spaces | {chr(code) for code in range(0x1F, 0x3100)} | {"\ufeff", "\u200b", "\u180e"}
    for character in sorted(suspects):
        try:
            database.execute(
                "INSERT INTO tasks (user_id, title) VALUES (%s, %s)", [user_id, f"{character}x"]
            )
            accepted.add(character)
        except errors.CheckViolation:
            pass
    assert suspects - accepted == spaces


def test_the_database_refuses_a_description_that_is_too_long(
    database: psycopg.Connection,
) -> None:
    insert_task(database, "x", "𝄞" * 10_000)
    with pytest.raises(errors.CheckViolation):
        insert_task(database, "x", "x" * 10_001)


@pytest.mark.parametrize("email", ["", "a", "a@", "@b", "a@b@c", "a b@c", "x" * 253 + "@b"])
def test_the_database_refuses_an_address_that_the_service_would(
    database: psycopg.Connection, email: str
) -> None:
    with pytest.raises(errors.CheckViolation):
        database.execute("INSERT INTO users (email, password_hash) VALUES (%s, '!')", [email])


def test_a_task_needs_a_user(database: psycopg.Connection) -> None:
    with pytest.raises(errors.ForeignKeyViolation):
        database.execute("INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'x')")


def test_updated_at_is_kept_for_an_update_typed_by_hand(database: psycopg.Connection) -> None:
    user_id = new_user(database)
    query = "INSERT INTO tasks (user_id, title) VALUES (%s, 'x') RETURNING id, updated_at"
    row = database.execute(query, [user_id]).fetchone()
    assert row is not None
    changed = database.execute(
        "UPDATE tasks SET title = 'y', updated_at = '2000-01-01' WHERE id = %s"
        " RETURNING updated_at",
        [row[0]],
    ).fetchone()
    assert changed is not None
    assert changed[0] > row[1]


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "a\n", "\x7f", "\u00e9"])
def test_the_database_refuses_a_key_that_the_service_would(
    database: psycopg.Connection, key: str
) -> None:
    query = "INSERT INTO idempotency_keys (user_id, key, request_hash, task_id)"
    query += " VALUES (%s, %s, sha256(''), gen_random_uuid())"
    user_id = new_user(database)
    database.execute(query, [user_id, "!~" + "x" * 253])
    with pytest.raises(errors.CheckViolation):
        database.execute(query, [user_id, key])


def test_updated_at_grows_even_where_the_clock_does_not(database: psycopg.Connection) -> None:
    user_id = new_user(database)
    with database.transaction():
        query = "INSERT INTO tasks (user_id, title) VALUES (%s, 'x') RETURNING id, updated_at"
        row = database.execute(query, [user_id]).fetchone()
        assert row is not None
        seen = [row[1]]
        for _ in range(3):
            change = "UPDATE tasks SET title = 'y' WHERE id = %s RETURNING updated_at"
            changed = database.execute(change, [row[0]]).fetchone()
            assert changed is not None
            seen.append(changed[0])
    assert seen == sorted(set(seen))
