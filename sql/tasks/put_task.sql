-- Create a task with an id that the client chose, unless the user has a task with this id. An
-- identity provider's user is created with the first task. A user who does not exist, or whose
-- email belongs to another account, violates tasks_user_id_fkey.
-- @param user_id uuid
-- @param id uuid
-- @param provider_email text: the email of an identity provider's user, else null
-- @param members jsonb: the task's members by column name; an absent one is null
-- @return the task; is_written: false if it was there before; no row: a concurrent statement has
-- created it, and this one's snapshot is too old to show it
WITH new_user AS (
    INSERT INTO users (id, email)
    SELECT %(user_id)s::uuid, %(provider_email)s::text
    WHERE %(provider_email)s IS NOT NULL
    ON CONFLICT DO NOTHING
), created AS (
    INSERT INTO tasks (user_id, id, title, description, completed)
    SELECT %(user_id)s::uuid, %(id)s::uuid, given.title, given.description, given.completed
    FROM jsonb_populate_record(NULL::tasks, %(members)s) AS given
    ON CONFLICT (user_id, id) DO NOTHING
    RETURNING id, user_id, title, description, completed, created_at, updated_at
)
SELECT id, user_id, title, description, completed, created_at, updated_at, TRUE AS is_written
FROM created
UNION ALL
SELECT id, user_id, title, description, completed, created_at, updated_at, FALSE AS is_written
FROM tasks
WHERE user_id = %(user_id)s
    AND id = %(id)s
    AND NOT EXISTS (SELECT id FROM created);
