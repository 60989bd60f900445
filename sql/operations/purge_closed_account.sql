-- Delete up to 1,000 tasks of a closed account, and the account if it had fewer left. Few at a
-- time, so that none waits long, and so that it goes on where it was stopped.
-- @param id uuid
-- @param email text: the one that it was given when it was closed
-- @return deleted_rows: how many, the account included
WITH found AS MATERIALIZED (
    SELECT id
    FROM tasks
    WHERE user_id = %(id)s
    ORDER BY id
    LIMIT 1000
), deleted AS (
    DELETE FROM tasks
    USING found
    WHERE tasks.user_id = %(id)s
        AND tasks.id = found.id
    RETURNING tasks.id
), deleted_user AS (
    DELETE FROM users
    WHERE id = %(id)s
        AND lower(email) = lower(%(email)s)
        AND (SELECT count(id) FROM found) = 0
    RETURNING id
)
SELECT (SELECT count(id) FROM deleted) + (SELECT count(id) FROM deleted_user) AS deleted_rows;
