-- List the applied migrations with the user who applied each, according to yoyo's log.
-- @return migration_id, applied_at_utc, username, hostname
SELECT
    marked.migration_id,
    marked.applied_at_utc,
    run.username,
    run.hostname
FROM _yoyo_migration AS marked
LEFT JOIN LATERAL (
    SELECT _yoyo_log.username, _yoyo_log.hostname
    FROM _yoyo_log
    WHERE _yoyo_log.migration_id = marked.migration_id
        AND _yoyo_log.operation = 'apply'
    ORDER BY _yoyo_log.created_at_utc DESC
    LIMIT 1
) AS run ON true
ORDER BY marked.migration_id;
