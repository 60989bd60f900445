-- Create a task. An identity provider's user is created with the first task. A user who does not
-- exist, or whose email belongs to another account, violates tasks_user_id_fkey.
-- @param user_id uuid
-- @param provider_email text: the email of an identity provider's user, else null
-- @param members jsonb: the task's members by column name; an absent one is null
-- @return the task
WITH new_user AS (
    -- No conflict target: of two first writes at once, the second must not fail on the email.
    INSERT INTO users (id, email)
    SELECT %(user_id)s::uuid, %(provider_email)s::text
    WHERE %(provider_email)s IS NOT NULL
    ON CONFLICT DO NOTHING
)
INSERT INTO tasks (user_id, title, description, completed)
SELECT %(user_id)s::uuid, given.title, given.description, given.completed
FROM jsonb_populate_record(NULL::tasks, %(members)s) AS given
RETURNING id, user_id, title, description, completed, created_at, updated_at;
