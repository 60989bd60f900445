-- Close an account: its tokens are invalid from now on, and its email is free. The purge deletes
-- its tasks and the rest. The email that it gets is one that nobody can have (RFC 2606).
-- @param email text
-- @param user_id uuid: the account with this email
-- @param old_hash text: the password's hash that it must still have; null: any, or none
-- @return its id; no row: another hash, or no account
WITH renamed AS (
    UPDATE users
    SET
        email = id || '@closed.invalid',
        password_hash = NULL
    WHERE lower(email) = lower(%(email)s)
        AND id = %(user_id)s
        AND password_hash IS NOT DISTINCT FROM coalesce(%(old_hash)s, password_hash)
    RETURNING id
), closed AS (
    INSERT INTO closed_accounts (user_id)
    SELECT id
    FROM renamed
    RETURNING user_id
)
INSERT INTO revocations (user_id, tokens_not_before)
SELECT user_id, 'infinity'
FROM closed
ON CONFLICT (user_id) DO UPDATE SET tokens_not_before = excluded.tokens_not_before
RETURNING user_id AS id;
