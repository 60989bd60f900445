-- Delete a task of the user for good. No row means that there was none, a row without an id that
-- it is there but not in one of the versions given.
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
