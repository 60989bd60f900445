-- Create a task. A user who does not exist violates tasks_user_id_fkey.
-- @param user_id uuid
-- @param members jsonb: the task's members by column name; an absent one is null
-- @return the task
INSERT INTO tasks (user_id, title, description, completed)
SELECT %(user_id)s::uuid, given.title, given.description, given.completed
FROM jsonb_populate_record(NULL::tasks, %(members)s) AS given
RETURNING id, user_id, title, description, completed, created_at, updated_at;
