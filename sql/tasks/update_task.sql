-- Change the members that the client sent. Each of them replaces the row's value, null included.
-- The clock is locked before the task, as by all writers. A task that another session has locked
-- without the clock is not waited for (NOWAIT): that session may be waiting for the clock. The
-- service runs the statement again.
-- @param user_id uuid
-- @param id uuid
-- @param changes jsonb: the new values by column name; an absent one keeps the row's value
-- @param keep_title boolean: change the task only if it has the title of `changes` already
-- @param versions timestamptz[]: values of updated_at for which it is changed; null: any
-- @return the task; is_written: false if it is unchanged, because it is not in one of the versions;
-- no row: there is no such task, or it has another title
WITH clock AS MATERIALIZED (
    SELECT advance_clock(%(user_id)s::uuid) AS at
), target AS (
    SELECT
        tasks.id, tasks.user_id, tasks.title, tasks.description, tasks.completed,
        tasks.created_at, tasks.updated_at
    FROM clock
    CROSS JOIN tasks
    WHERE tasks.user_id = %(user_id)s
        AND tasks.id = %(id)s
        AND (NOT %(keep_title)s::boolean OR tasks.title = %(changes)s::jsonb ->> 'title')
    FOR UPDATE OF tasks NOWAIT
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
SELECT id, user_id, title, description, completed, created_at, updated_at, true AS is_written
FROM changed
UNION ALL
SELECT id, user_id, title, description, completed, created_at, updated_at, false AS is_written
FROM target
WHERE NOT EXISTS (SELECT id FROM changed);
