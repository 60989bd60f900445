-- Replace the hash of a password by another hash of the same password, unless it has changed.
-- @param email text
-- @param old_hash text
-- @param new_hash text
-- @return the account's id, or no row
UPDATE users
SET password_hash = %(new_hash)s
WHERE lower(email) = lower(%(email)s)
    AND password_hash = %(old_hash)s
RETURNING id;
