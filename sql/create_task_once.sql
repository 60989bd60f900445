-- Create a task of the user, and the user of an identity provider, as create_task does, unless the
-- key has made one: then return what answers for that one. DO UPDATE waits for another statement
-- that uses the key and returns its row, which this statement's snapshot may be too old to show.
-- A user who is gone, or whose address is another's, violates idempotency_keys_user_id_fkey.
WITH new_user AS (
    INSERT INTO users (id, email)
    SELECT %(user_id)s::uuid, %(provider_email)s::text
    WHERE %(provider_email)s IS NOT NULL
    ON CONFLICT DO NOTHING
), candidate AS MATERIALIZED (
    SELECT gen_random_uuid() AS id
), claimed AS (
    INSERT INTO idempotency_keys (user_id, key, request_hash, task_id)
    SELECT %(user_id)s::uuid, %(key)s, %(request_hash)s, candidate.id
    FROM candidate
    ON CONFLICT (user_id, key) DO UPDATE SET key = excluded.key
    RETURNING user_id, request_hash, task_id, created_at
), created AS (
    INSERT INTO tasks (user_id, id, title, description, completed)
    SELECT wanted.user_id, candidate.id, wanted.title, wanted.description, wanted.completed
    FROM candidate
    JOIN claimed ON claimed.task_id = candidate.id
    CROSS JOIN (
        VALUES (%(user_id)s::uuid, %(title)s, %(description)s, %(completed)s::boolean)
    ) AS wanted (user_id, title, description, completed)
    RETURNING id
)
SELECT
    claimed.task_id AS id,
    claimed.user_id,
    claimed.created_at,
    claimed.request_hash = %(request_hash)s AS is_same_request,
    created.id IS NULL AS is_replay
FROM claimed
LEFT JOIN created ON created.id = claimed.task_id;
