-- Delete up to 1,000 tasks of closed accounts, and the accounts that had fewer left. Few at a time,
-- so that none waits long, and so that it goes on where it was stopped.
-- @return deleted_rows: tasks and accounts
WITH closed AS MATERIALIZED (
    SELECT id
    FROM users
    WHERE closed_at IS NOT NULL
    ORDER BY closed_at
    LIMIT 10
), found AS MATERIALIZED (
    SELECT tasks.user_id, tasks.id
    FROM closed
    CROSS JOIN LATERAL (
        SELECT tasks.user_id, tasks.id
        FROM tasks
        WHERE tasks.user_id = closed.id
        LIMIT 100
    ) AS tasks
), deleted AS (
    DELETE FROM tasks
    USING found
    WHERE tasks.user_id = found.user_id
        AND tasks.id = found.id
    RETURNING tasks.id
), deleted_users AS (
    DELETE FROM users
    WHERE id IN (SELECT id FROM closed)
        AND id NOT IN (SELECT user_id FROM found)
        AND closed_at IS NOT NULL
    RETURNING id
)
SELECT (SELECT count(id) FROM deleted) + (SELECT count(id) FROM deleted_users) AS deleted_rows;
