-- Set completed to what the client sent, or turn it round where it sent nothing.
UPDATE tasks
SET completed = coalesce(%(completed)s, NOT completed)
WHERE user_id = %(user_id)s
    AND id = %(id)s
RETURNING id, user_id, title, description, completed, created_at, updated_at;
