-- Delete a task permanently. A trigger keeps its id in deleted_tasks, for the change feed. The
-- clock is locked before the task, as by all writers. A task that another session has locked
-- without the clock is not waited for (NOWAIT): that session may be waiting for the clock. The
-- service runs the statement again.
-- @param user_id uuid
-- @param id uuid
-- @param versions timestamptz[]: values of updated_at for which it is deleted; null: any
-- @return the task as it was; is_written: false if it is still there, because it is not in one of
-- the versions; no row: there is no such task
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
    FOR UPDATE OF tasks NOWAIT
), deleted AS (
    DELETE FROM tasks
    USING target
    WHERE tasks.user_id = %(user_id)s
        AND tasks.id = target.id
        AND coalesce(target.updated_at = ANY(%(versions)s::timestamptz[]), true)
    RETURNING tasks.id
)
SELECT
    id, user_id, title, description, completed, created_at, updated_at,
    EXISTS (SELECT id FROM deleted) AS is_written
FROM target;
