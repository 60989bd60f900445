-- List a page of the user's tasks, oldest first. tasks_user_id_created_at_id_idx, read backwards,
-- finds the position and has the order.
-- @param user_id uuid
-- @param after_created_at timestamptz: the page starts after this task; null: at the oldest
-- @param after_id uuid: the same task
-- @param completed boolean: only tasks with this value; null: all
-- @param q text: only tasks whose title or description contains it, in any case; null: all
-- @param limit integer
-- @return the tasks
SELECT id, user_id, title, description, completed, created_at, updated_at
FROM tasks
WHERE user_id = %(user_id)s
    AND (created_at, id) > (
        coalesce(%(after_created_at)s::timestamptz, '-infinity'),
        coalesce(%(after_id)s::uuid, '00000000-0000-0000-0000-000000000000')
    )
    AND (%(completed)s::boolean IS NULL OR completed = %(completed)s)
    AND (
        %(q)s::text IS NULL
        OR strpos(lower(title), lower(%(q)s)) > 0
        OR strpos(lower(description), lower(%(q)s)) > 0
    )
ORDER BY created_at, id
LIMIT %(limit)s;
