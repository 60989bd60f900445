-- Replace the password of an account, and make all tokens invalid that were issued to it until now.
-- @param email text
-- @param old_hash text: the hash that it must still have; null: any
-- @param new_hash text: Argon2id
-- @return issued_at: the Unix time that a valid token has at least; no row: another hash, or no
-- account with a password
WITH changed AS (
    UPDATE users
    SET password_hash = %(new_hash)s
    WHERE lower(email) = lower(%(email)s)
        AND password_hash = coalesce(%(old_hash)s, password_hash)
    RETURNING id
)
INSERT INTO revocations (user_id, tokens_not_before)
SELECT id, now()
FROM changed
ON CONFLICT (user_id) DO UPDATE
SET tokens_not_before = greatest(excluded.tokens_not_before, revocations.tokens_not_before)
RETURNING extract(EPOCH FROM tokens_not_before)::double precision AS issued_at;
