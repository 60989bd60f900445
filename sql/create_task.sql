-- Create a task of the user. A user who is gone violates tasks_user_id_fkey.
INSERT INTO tasks (user_id, title, description, completed)
VALUES (%(user_id)s, %(title)s, %(description)s, %(completed)s)
RETURNING id, user_id, title, description, completed, created_at, updated_at;
