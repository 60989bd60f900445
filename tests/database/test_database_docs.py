"""What docs/database.md says of the schema is so."""

from __future__ import annotations

import re

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tests.support.database_docs import (
    DOCUMENT,
    draw_diagram,
    list_descriptions,
    measure_sizes,
    read_descriptions,
    replace_part,
)


def test_the_diagram_is_current(database: psycopg.Connection) -> None:
    """If not: `make database-docs`."""
    text = DOCUMENT.read_text()
    assert "erDiagram" in text
    assert replace_part(text, "diagram", draw_diagram(database)) == text


def test_the_comments_are_current(database: psycopg.Connection) -> None:
    """If not: `make database-docs`."""
    text = DOCUMENT.read_text()
    assert replace_part(text, "comments", list_descriptions(database)) == text
    assert "<!-- comments -->" in text


def test_the_catalogue_describes_all_that_is_ours(database: psycopg.Connection) -> None:
    """For a DBA who has psql and not this repository. If not: COMMENT ON in the migration."""
    descriptions = read_descriptions(database)
    assert {(found.kind, found.table, found.name) for found in descriptions} >= {
        ("table", "tasks", ""),
        ("column", "tasks", "updated_at"),
        ("policy", "tasks", "tasks_of_user"),
        ("function", "~", "tasks_set_updated_at()"),
    }
    assert [found for found in descriptions if not found.comment] == []
    for found in descriptions:
        assert re.fullmatch(r"[A-Z][^|\n]+\.", found.comment or ""), found
    nullable = database.execute(
        "SELECT attrelid::regclass::text, attname FROM pg_attribute"
        " JOIN pg_class ON pg_class.oid = attrelid AND relkind = 'r'"
        " WHERE relnamespace = 'public'::regnamespace AND relname !~ '^_?yoyo'"
        " AND attnum > 0 AND NOT attnotnull AND NOT attisdropped"
    ).fetchall()
    assert ("tasks", "description") in nullable
    for found in descriptions:
        if (found.table, found.name) in nullable:
            assert "Null" in (found.comment or ""), f"{found} doesn't say what null means"


def test_every_index_and_its_size_is_named(database: psycopg.Connection) -> None:
    text = DOCUMENT.read_text()
    indexes = database.execute(
        "SELECT indexname FROM pg_indexes WHERE schemaname = 'public' AND tablename !~ '^_?yoyo'"
    ).fetchall()
    sizes = text.partition("<!-- sizes -->")[2].partition("<!-- end of sizes -->")[0]
    assert sizes
    for (name,) in indexes:
        assert f"`{name}`" in text, name
        assert f"| {name} |" in sizes, name


def test_the_sizes_are_measured(empty_database: str) -> None:
    with psycopg.connect(empty_database) as conn:
        conn.execute("CREATE TABLE things (id int PRIMARY KEY)")
        conn.execute("INSERT INTO things SELECT generate_series(1, 100000)")
        conn.execute("ANALYZE things")
        lines = measure_sizes(conn).splitlines()
    assert [line.split("|")[1:3] for line in lines[2:]] == [
        [" things ", "  "],
        [" things ", " things_pkey "],
    ]
    assert 30 < int(lines[2].split("|")[3]) < 50


# The file of each index whose order depends on the database's collation.
COLLATED_INDEXES = """
SELECT indexrelid::regclass::text, pg_relation_filenode(indexrelid)
FROM pg_index
JOIN pg_class ON pg_class.oid = indexrelid
WHERE relnamespace = 'public'::regnamespace AND 'default'::regcollation::oid = ANY(indcollation)
"""


def test_every_index_that_depends_on_the_collation_is_rebuilt(own_url: str) -> None:
    text = DOCUMENT.read_text().partition("## After an upgrade of the operating system")[2]
    name = conninfo_to_dict(own_url)["dbname"]
    with psycopg.connect(own_url, autocommit=True) as conn:
        before: dict[str, int] = dict(conn.execute(COLLATED_INDEXES).fetchall())
        for statement in text.partition("```sql\n")[2].partition("```")[0].splitlines():
            conn.execute(statement.replace("DATABASE taskapi", f'DATABASE "{name}"').encode())
        after: dict[str, int] = dict(conn.execute(COLLATED_INDEXES).fetchall())
    assert "users_email_key" in before
    assert before.keys() == after.keys()
    assert [index for index in before if before[index] == after[index]] == []


def test_no_function_of_a_search_is_leakproof(database: psycopg.Connection) -> None:
    """If one becomes leakproof, an index of pg_trgm may help: see docs/database.md."""
    leakproof = database.execute(
        "SELECT proname FROM pg_proc WHERE proleakproof"
        " AND proname IN ('textlike', 'texticlike', 'lower', 'strpos')"
    ).fetchall()
    assert leakproof == []
