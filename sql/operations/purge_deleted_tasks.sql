-- Delete up to 1,000 rows of deleted_tasks that are older than 30 days, and note for each user up
-- to where. Few at a time, so that none waits long. The clock is locked first, as by all writers. A
-- user without a clock, whose row somebody has deleted by hand, has no tokens to be noted for.
-- @return deleted_rows: how many
WITH expired AS MATERIALIZED (
    SELECT user_id, id, deleted_at
    FROM deleted_tasks
    WHERE deleted_at < now() - interval '30 days'
    ORDER BY deleted_at
    LIMIT 1000
), noted AS (
    UPDATE clocks
    SET purged_at = greatest(clocks.purged_at, latest.deleted_at)
    FROM (
        SELECT user_id, max(deleted_at) AS deleted_at
        FROM expired
        GROUP BY user_id
    ) AS latest
    WHERE clocks.user_id = latest.user_id
    RETURNING clocks.user_id
), deleted AS (
    DELETE FROM deleted_tasks
    USING expired
    LEFT JOIN noted ON noted.user_id = expired.user_id
    LEFT JOIN clocks ON clocks.user_id = expired.user_id
    WHERE (noted.user_id IS NOT NULL OR clocks.user_id IS NULL)
        AND deleted_tasks.user_id = expired.user_id
        AND deleted_tasks.id = expired.id
        AND deleted_tasks.deleted_at = expired.deleted_at
    RETURNING deleted_tasks.id
)
SELECT count(id) AS deleted_rows
FROM deleted;
