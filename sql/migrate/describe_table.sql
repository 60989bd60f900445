-- What a rollback would lose with a table. The number of rows is the statistics' estimate: counting
-- a large table takes minutes.
-- @param table_name text
-- @return estimated_rows, size; no row: there is no such table
SELECT
    greatest(
        pg_class.reltuples::bigint, pg_stat_get_live_tuples(pg_class.oid), 0
    ) AS estimated_rows,
    pg_size_pretty(pg_total_relation_size(pg_class.oid)) AS size
FROM pg_class
WHERE pg_class.oid = to_regclass(%(table_name)s);
