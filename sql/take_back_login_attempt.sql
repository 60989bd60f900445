-- Take back the count of a try to log in that was no failure, the client's first: whoever counts
-- locks in this order too.
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
