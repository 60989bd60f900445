-- Count a sign-up before its password is hashed, unless its client or its IPv6 block has had as
-- many within a minute as it may. All clients of a block share a row, which each sign-up locks, so
-- that of any number at once no more than those pass.
-- @param client text: an IPv4 address or an IPv6 /64
-- @param block text: the client's IPv6 /48, else null
-- @param per_client integer: how often a client may sign up within a minute
-- @param per_block integer: how often all clients of a block may
-- @return retry_after: null if it was counted, else for how many seconds the client may not sign up
WITH signup AS (
    SELECT
        'signup:' || coalesce(%(block)s::text, %(client)s::text) AS key,
        %(client)s::text AS client
),
counted AS (
    INSERT INTO login_attempts AS kept (key, tried_at, clients, expires_at)
    SELECT key, ARRAY[now()], ARRAY[client], now() + interval '1 minute'
    FROM signup
    ON CONFLICT (key) DO UPDATE
    SET (tried_at, clients, expires_at) = (
        SELECT
            array_agg(recent.tried_at) || now(),
            array_agg(recent.client) || %(client)s::text,
            now() + interval '1 minute'
        FROM unnest(kept.tried_at, kept.clients) AS recent (tried_at, client)  -- noqa: RF01
        WHERE recent.tried_at > now() - interval '1 minute'
    )
    WHERE (
        SELECT
            count(recent.client) FILTER (WHERE recent.client = %(client)s::text)
            < %(per_client)s::integer
            AND count(recent.client) < %(per_block)s::integer
        FROM unnest(kept.tried_at, kept.clients) AS recent (tried_at, client)  -- noqa: RF01
        WHERE recent.tried_at > now() - interval '1 minute'
    )
    RETURNING key
)
SELECT
    CASE WHEN NOT EXISTS (SELECT key FROM counted) THEN
        -- What filled the row at this very moment isn't seen here: then the whole minute is left.
        coalesce(
            (
                SELECT greatest(1, ceil(extract(EPOCH FROM
                    greatest(
                        CASE
                            WHEN count(recent.client) FILTER (WHERE recent.client = signup.client)
                                >= %(per_client)s::integer
                                THEN min(recent.tried_at)
                                    FILTER (WHERE recent.client = signup.client)
                        END,
                        CASE
                            WHEN count(recent.client) >= %(per_block)s::integer
                                THEN min(recent.tried_at)
                        END
                    ) + interval '1 minute' - now()
                )))
                FROM login_attempts AS kept
                CROSS JOIN unnest(kept.tried_at, kept.clients) AS recent (tried_at, client)
                WHERE kept.key = signup.key
                    AND recent.tried_at > now() - interval '1 minute'
            ),
            60
        )::integer
    END AS retry_after
FROM signup;
