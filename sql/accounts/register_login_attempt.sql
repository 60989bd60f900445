-- Count a login attempt before its password is checked, and return the account of its email. Within
-- a minute 20 attempts of a client may fail, 60 of an IPv6 block and 5 for an email. Each attempt
-- locks the rows of its client, its block and its email, in this order, so that of any number at
-- once no more than those are checked. Removing old rows comes last, and skips locked rows.
-- @param email text
-- @param client text: an IPv4 address or an IPv6 /64
-- @param block text: the client's IPv6 /48, else null
-- @return tried_at: when it was counted, null if it was not; retry_after: null, or for how many
-- seconds the client, the block or the email may not try; id, email, password_hash: the account, or
-- nulls
WITH attempt AS (
    SELECT
        'client:' || %(client)s::text AS client,
        'block:' || %(block)s::text AS block,
        'address:' || encode(sha256(convert_to(lower(%(email)s), 'UTF8')), 'hex') AS address
),
counted_client AS (
    INSERT INTO login_attempts AS kept (key, tried_at, expires_at)
    SELECT
        client,
        array_fill('-infinity'::timestamptz, ARRAY[19]) || now(),
        now() + interval '1 minute'
    FROM attempt
    ON CONFLICT (key) DO UPDATE
    SET tried_at = kept.tried_at[2:] || now(), expires_at = excluded.expires_at
    WHERE kept.tried_at[1] <= now() - interval '1 minute'
    RETURNING key
),
counted_block AS (
    INSERT INTO login_attempts AS kept (key, tried_at, expires_at)
    SELECT
        block,
        array_fill('-infinity'::timestamptz, ARRAY[59]) || now(),
        now() + interval '1 minute'
    FROM attempt, counted_client
    WHERE block IS NOT NULL
    ON CONFLICT (key) DO UPDATE
    SET tried_at = kept.tried_at[2:] || now(), expires_at = excluded.expires_at
    WHERE kept.tried_at[1] <= now() - interval '1 minute'
    RETURNING key
),
counted_address AS (
    INSERT INTO login_attempts AS kept (key, tried_at, expires_at)
    SELECT
        address,
        array_fill('-infinity'::timestamptz, ARRAY[4]) || now(),
        now() + interval '1 minute'
    FROM attempt, counted_client
    WHERE block IS NULL OR EXISTS (SELECT key FROM counted_block)
    ON CONFLICT (key) DO UPDATE
    SET tried_at = kept.tried_at[2:] || now(), expires_at = excluded.expires_at
    WHERE kept.tried_at[1] <= now() - interval '1 minute'
    RETURNING key
),
swept AS (
    DELETE FROM login_attempts
    WHERE key = ANY (ARRAY(
        SELECT old.key
        FROM counted_address, attempt, login_attempts AS old
        WHERE old.expires_at < now()
            AND old.key NOT IN (attempt.client, attempt.address)
            AND old.key IS DISTINCT FROM attempt.block
        LIMIT 10
        FOR UPDATE OF old SKIP LOCKED
    ))
)
SELECT
    (SELECT now() FROM counted_client) AS tried_at,
    CASE WHEN NOT EXISTS (SELECT key FROM counted_address) THEN
        -- What filled a row at this very moment isn't seen here: then the whole minute is left.
        coalesce(
            (
                SELECT greatest(1, ceil(extract(EPOCH FROM
                    max(full_row.tried_at[1]) + interval '1 minute' - now()
                )))
                FROM login_attempts AS full_row
                WHERE full_row.key IN (attempt.client, attempt.block, attempt.address)
                    AND full_row.tried_at[1] > now() - interval '1 minute'
            ),
            60
        )::integer
    END AS retry_after,
    users.id,
    users.email,
    users.password_hash
FROM attempt
LEFT JOIN users ON lower(users.email) = lower(%(email)s);
