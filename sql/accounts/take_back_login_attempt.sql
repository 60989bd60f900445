-- Stop counting a login attempt that did not fail. Locks the client's row first, as
-- register_login_attempt does.
-- @param email text
-- @param client text
-- @param tried_at timestamptz: as register_login_attempt returned it
-- @return the key of the email's row
WITH client AS (
    UPDATE login_attempts
    SET tried_at = '-infinity'::timestamptz || array_remove(tried_at, %(tried_at)s)
    WHERE key = 'client:' || %(client)s::text
        AND %(tried_at)s::timestamptz = ANY (tried_at)
    RETURNING key
)
UPDATE login_attempts
SET tried_at = '-infinity'::timestamptz || array_remove(tried_at, %(tried_at)s)
WHERE key = 'address:' || encode(sha256(convert_to(lower(%(email)s), 'UTF8')), 'hex')
    AND %(tried_at)s::timestamptz = ANY (tried_at)
    AND EXISTS (SELECT key FROM client)
RETURNING key;
