-- Delete up to 1,000 keys that are older than 24 hours. Few at a time, so that none waits long.
-- @return deleted_keys: how many
WITH deleted AS (
    DELETE FROM idempotency_keys
    WHERE (user_id, key) IN (
        SELECT user_id, key
        FROM idempotency_keys
        WHERE created_at < now() - interval '24 hours'
        ORDER BY created_at
        LIMIT 1000
    )
    RETURNING key
)
SELECT count(key) AS deleted_keys
FROM deleted;
