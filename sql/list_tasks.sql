-- The user's tasks, newest first; tasks_user_id_created_at_id_idx gives the order.
SELECT id, user_id, title, description, completed, created_at, updated_at
FROM tasks
WHERE user_id = %(user_id)s
ORDER BY created_at DESC, id DESC;
