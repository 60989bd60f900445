-- Change the members that the client sent. Each of them replaces the row's value, null included.
-- @param user_id uuid
-- @param id uuid
-- @param changes jsonb: the new values by column name; an absent one keeps the row's value
-- @param keep_title boolean: change the task only if it has the title of `changes` already
-- @param versions timestamptz[]: values of updated_at for which it is changed; null: any
-- @return the task; no row: there is no such task, or it has another title; a row of nulls: it is
-- not in one of the versions
WITH target AS (
    SELECT id, updated_at
    FROM tasks
    WHERE user_id = %(user_id)s
        AND id = %(id)s
        AND (NOT %(keep_title)s::boolean OR title = %(changes)s::jsonb ->> 'title')
    FOR UPDATE
), changed AS (
    UPDATE tasks
    SET (title, description, completed) = (
        SELECT given.title, given.description, given.completed
        FROM jsonb_populate_record(tasks, %(changes)s) AS given  -- noqa: RF03
    )
    FROM target
    WHERE tasks.user_id = %(user_id)s
        AND tasks.id = target.id
        AND coalesce(target.updated_at = ANY(%(versions)s::timestamptz[]), true)
    RETURNING
        tasks.id, tasks.user_id, tasks.title, tasks.description, tasks.completed,
        tasks.created_at, tasks.updated_at
)
SELECT
    changed.id, changed.user_id, changed.title, changed.description, changed.completed,
    changed.created_at, changed.updated_at
FROM target
LEFT JOIN changed ON changed.id = target.id;
