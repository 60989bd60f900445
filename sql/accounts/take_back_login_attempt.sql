-- Stop counting a login attempt that did not fail: once for each of its rows, for other attempts
-- may have been counted at the same time. Locks the rows in the order of register_login_attempt.
-- @param email text
-- @param client text
-- @param block text
-- @param tried_at timestamptz: as register_login_attempt returned it
-- @return the keys of the rows
WITH counted AS (  -- noqa: ST03
    SELECT key
    FROM login_attempts
    WHERE key IN (
        'client:' || %(client)s::text,
        'block:' || %(block)s::text,
        'address:' || encode(sha256(convert_to(lower(%(email)s), 'UTF8')), 'hex')
    )
    -- The client, the block, the email.
    ORDER BY key DESC
    FOR UPDATE
)
UPDATE login_attempts AS kept
SET tried_at = '-infinity'::timestamptz
    || kept.tried_at[:array_position(kept.tried_at, %(tried_at)s::timestamptz) - 1]
    || kept.tried_at[array_position(kept.tried_at, %(tried_at)s::timestamptz) + 1:]
FROM counted
WHERE kept.key = counted.key
    AND %(tried_at)s::timestamptz = ANY (kept.tried_at)
RETURNING kept.key;
