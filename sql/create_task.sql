-- Create a task of the user. The user of an identity provider, whose address is given, is created
-- along with the first one. A user who is gone, or whose address is another's, violates
-- tasks_user_id_fkey.
WITH new_user AS (
    -- Without a target: of two first writes at once the second must not stumble over the address.
    INSERT INTO users (id, email)
    SELECT %(user_id)s::uuid, %(provider_email)s::text
    WHERE %(provider_email)s IS NOT NULL
    ON CONFLICT DO NOTHING
)
INSERT INTO tasks (user_id, title, description, completed)
VALUES (%(user_id)s, %(title)s, %(description)s, %(completed)s)
RETURNING id, user_id, title, description, completed, created_at, updated_at;
