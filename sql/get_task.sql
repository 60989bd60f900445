-- One task of the user; another user's is not found.
SELECT id, user_id, title, description, completed, created_at, updated_at
FROM tasks
WHERE user_id = %(user_id)s
    AND id = %(id)s;
