"""What docs/database.md says of the schema is so."""

from __future__ import annotations

import psycopg

from tests.support.database_docs import DOCUMENT, draw_diagram, measure_sizes, replace_part


def test_the_diagram_is_current(database: psycopg.Connection) -> None:
    """If not: `make database-docs`."""
    text = DOCUMENT.read_text()
    assert "erDiagram" in text
    assert replace_part(text, "diagram", draw_diagram(database)) == text


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
