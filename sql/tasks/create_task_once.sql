-- Create a task as create_task does, unless the user's key has created one: then return that one as
-- it was created. ON CONFLICT DO UPDATE waits for a concurrent statement with the same key and
-- returns its row, which this statement's snapshot can be too old to show. A user who does not
-- exist violates idempotency_keys_user_id_fkey.
--
-- A user may have 10,000 keys that are not older than 24 hours, and a few more if several
-- statements run at once. Of the older ones, up to ten are deleted. That comes last, and skips rows
-- that are locked.
-- @param user_id uuid
-- @param key text: the Idempotency-Key
-- @param request_hash bytea: SHA-256 of the request
-- @param members jsonb: the task's members by column name; an absent one is null
-- @return the task; is_same_request: the key has this request_hash; is_replay: nothing was created;
-- retry_after: null, or for how many seconds the user can have no more keys, without a task then
WITH candidate AS MATERIALIZED (
    SELECT gen_random_uuid() AS id, given.title, given.description, given.completed
    FROM jsonb_populate_record(NULL::tasks, %(members)s) AS given
), claimed AS (
    INSERT INTO idempotency_keys (user_id, key, request_hash, task_id)
    SELECT %(user_id)s::uuid, %(key)s, %(request_hash)s, candidate.id
    FROM candidate
    WHERE EXISTS (
        SELECT key FROM idempotency_keys
        WHERE user_id = %(user_id)s AND key = %(key)s
    )
    OR (
        SELECT count(counted.created_at)
        FROM (
            SELECT created_at FROM idempotency_keys
            WHERE user_id = %(user_id)s AND created_at > now() - interval '24 hours'
            ORDER BY created_at
            LIMIT 10000
        ) AS counted
    ) < 10000
    ON CONFLICT (user_id, key) DO UPDATE SET key = excluded.key
    RETURNING user_id, request_hash, task_id, created_at
), created AS (
    INSERT INTO tasks (user_id, id, title, description, completed)
    SELECT
        %(user_id)s::uuid, candidate.id, candidate.title, candidate.description,
        candidate.completed
    FROM candidate
    JOIN claimed ON claimed.task_id = candidate.id
    RETURNING id
), swept AS (
    DELETE FROM idempotency_keys
    WHERE user_id = %(user_id)s
        AND key = ANY (ARRAY(
            SELECT key FROM idempotency_keys
            WHERE user_id = %(user_id)s
                AND created_at < now() - interval '24 hours'
                AND key <> %(key)s
                AND EXISTS (SELECT task_id FROM claimed)
            ORDER BY created_at
            LIMIT 10
            FOR UPDATE SKIP LOCKED
        ))
)
SELECT
    claimed.task_id AS id,
    claimed.user_id,
    candidate.title,
    candidate.description,
    candidate.completed,
    claimed.created_at,
    claimed.created_at AS updated_at,
    claimed.request_hash = %(request_hash)s AS is_same_request,
    created.id IS NULL AS is_replay,
    CASE WHEN claimed.task_id IS NULL THEN (
        SELECT
            greatest(1, ceil(extract(EPOCH FROM min(created_at) + interval '24 hours' - now())))
        FROM idempotency_keys
        WHERE user_id = %(user_id)s AND created_at > now() - interval '24 hours'
    )::integer END AS retry_after
FROM candidate
LEFT JOIN claimed ON TRUE
LEFT JOIN created ON created.id = claimed.task_id;
