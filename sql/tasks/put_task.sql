-- Create a task with an id that the client chose, unless the user has a task with this id. A user
-- who does not exist violates tasks_user_id_fkey.
-- @param user_id uuid
-- @param id uuid
-- @param members jsonb: the task's members by column name; an absent one is null
-- @return the task, or no row if there is one with this id
INSERT INTO tasks (user_id, id, title, description, completed)
SELECT %(user_id)s::uuid, %(id)s::uuid, given.title, given.description, given.completed
FROM jsonb_populate_record(NULL::tasks, %(members)s) AS given
ON CONFLICT (user_id, id) DO NOTHING
RETURNING id, user_id, title, description, completed, created_at, updated_at;
