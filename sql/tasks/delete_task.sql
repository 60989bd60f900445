-- Delete a task permanently.
-- @param user_id uuid
-- @param id uuid
-- @param versions timestamptz[]: values of updated_at for which it is deleted; null: any
-- @return its id; no row: there is no such task; a null: it is not in one of the versions
WITH target AS (
    SELECT id, updated_at
    FROM tasks
    WHERE user_id = %(user_id)s
        AND id = %(id)s
    FOR UPDATE
), deleted AS (
    DELETE FROM tasks
    USING target
    WHERE tasks.user_id = %(user_id)s
        AND tasks.id = target.id
        AND coalesce(target.updated_at = ANY(%(versions)s::timestamptz[]), true)
    RETURNING tasks.id
)
SELECT deleted.id
FROM target
LEFT JOIN deleted ON deleted.id = target.id;
