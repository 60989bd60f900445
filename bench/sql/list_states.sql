-- What is written of a user's tasks, in turn by their ids.
SELECT id::text, title, completed
FROM tasks
WHERE user_id = %(user_id)s
ORDER BY id;
