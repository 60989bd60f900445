-- Read one task. Another user's task is not found.
-- @param user_id uuid
-- @param id uuid
-- @return the task, or no row
SELECT
    id, user_id, title, description, completed, due_on, priority, labels, position, completed_at,
    created_at, updated_at
FROM tasks
WHERE user_id = %(user_id)s
    AND id = %(id)s;
