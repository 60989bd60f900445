-- Create, change and delete up to 1,000 tasks of a user, each of them once. The clock is locked
-- before the tasks, as by all writers, so that two batches can't deadlock. A task that another
-- session has locked without the clock is not waited for (NOWAIT): that session may be waiting for
-- the clock. The service runs the statement again.
--
-- What each operation does is decided by its target before anything is written. A task that is
-- created, and that this statement's snapshot is too old to show, violates tasks_pkey: nothing is
-- written, and the statement can be run again. A user who does not exist violates
-- tasks_user_id_fkey.
-- @param user_id uuid
-- @param operations jsonb: an array of objects: op: create, update or delete; id: absent for a new
-- one; members: of the task, by column name; versions: values of updated_at for which the task is
-- changed, absent for any
-- @param atomic boolean: write nothing unless each operation can be done
-- @param max_bytes integer: write nothing if the tasks' texts have more bytes of JSON than this
-- @return a row for each operation, in order: status: as HTTP has it; the task, as it was written
-- or as it is if the status is 412; is_written; is_too_large: max_bytes was exceeded
WITH clock AS MATERIALIZED (
    SELECT advance_clock(%(user_id)s::uuid) AS at
), operation AS MATERIALIZED (
    SELECT
        given.number,
        given.operation ->> 'op' AS op,
        coalesce((given.operation ->> 'id')::uuid, gen_random_uuid()) AS task_id,
        given.operation -> 'members' AS members,
        CASE WHEN given.operation ? 'versions' THEN ARRAY(
            SELECT version::timestamptz  -- noqa: RF03
            FROM jsonb_array_elements_text(given.operation -> 'versions') AS elements (version)  -- noqa
        ) END AS versions
    FROM
        jsonb_array_elements(%(operations)s::jsonb) WITH ORDINALITY AS given (operation, number)
), target AS MATERIALIZED (
    SELECT id, user_id, title, description, completed, created_at, updated_at
    FROM clock
    CROSS JOIN operation
    -- Each task by the primary key: for another join the planner may read all of the user's tasks.
    CROSS JOIN LATERAL (  -- noqa: disable=RF03
        SELECT id, user_id, title, description, completed, created_at, updated_at
        FROM tasks
        WHERE user_id = %(user_id)s
            AND id = operation.task_id
            AND clock.at IS NOT NULL
        FOR UPDATE NOWAIT
    ) AS found  -- noqa: enable=RF03
), outcome AS MATERIALIZED (
    SELECT
        operation.number, operation.task_id, operation.members,
        CASE
            WHEN operation.op = 'create' THEN CASE WHEN target.id IS NULL THEN 201 ELSE 412 END
            WHEN target.id IS NULL THEN 404
            WHEN target.updated_at <> ALL (operation.versions) THEN 412
            WHEN operation.op = 'update' THEN 200
            ELSE 204
        END AS status,
        octet_length(to_json(target.title)::text)
        + coalesce(octet_length(to_json(target.description)::text), 0) AS bytes
    FROM operation
    LEFT JOIN target ON target.id = operation.task_id
), verdict AS MATERIALIZED (
    SELECT
        coalesce(sum(bytes) FILTER (WHERE status IN (200, 412)), 0) > %(max_bytes)s AS is_too_large,
        coalesce(sum(bytes) FILTER (WHERE status IN (200, 412)), 0) <= %(max_bytes)s
        AND (NOT %(atomic)s::boolean OR bool_and(status < 300)) AS may_write
    FROM outcome
), deleted AS (
    DELETE FROM tasks
    USING verdict
    CROSS JOIN outcome
    WHERE verdict.may_write AND outcome.status = 204
        AND tasks.user_id = %(user_id)s
        AND tasks.id = outcome.task_id
    RETURNING tasks.id
), created AS (
    INSERT INTO tasks (user_id, id, title, description, completed)
    SELECT %(user_id)s::uuid, outcome.task_id, given.title, given.description, given.completed
    FROM verdict
    -- What is deleted makes room for what is created, within the limit of a user's tasks.
    CROSS JOIN (SELECT count(id) AS tasks FROM deleted) AS room  -- noqa: ST05
    CROSS JOIN outcome
    CROSS JOIN jsonb_populate_record(NULL::tasks, outcome.members) AS given  -- noqa: RF01
    WHERE verdict.may_write AND outcome.status = 201
    RETURNING id, user_id, title, description, completed, created_at, updated_at
), changed AS (
    UPDATE tasks
    SET (title, description, completed) = (
        SELECT given.title, given.description, given.completed
        FROM jsonb_populate_record(tasks, outcome.members) AS given  -- noqa: RF01, RF03
    )
    FROM verdict
    CROSS JOIN outcome
    WHERE verdict.may_write AND outcome.status = 200
        AND tasks.user_id = %(user_id)s
        AND tasks.id = outcome.task_id
    RETURNING
        tasks.id, tasks.user_id, tasks.title, tasks.description, tasks.completed,
        tasks.created_at, tasks.updated_at
), shown AS (
    SELECT id, user_id, title, description, completed, created_at, updated_at, 201 AS status
    FROM created
    UNION ALL
    SELECT id, user_id, title, description, completed, created_at, updated_at, 200 AS status
    FROM changed
    UNION ALL
    SELECT id, user_id, title, description, completed, created_at, updated_at, 412 AS status
    FROM target
)
SELECT
    id, user_id, title, description, completed, created_at, updated_at,
    outcome.status, verdict.may_write AS is_written, verdict.is_too_large
FROM outcome
CROSS JOIN verdict
LEFT JOIN shown ON shown.id = outcome.task_id AND shown.status = outcome.status
ORDER BY outcome.number;
