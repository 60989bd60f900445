-- Replace the hash of a password by a new one of the same; where both have changed, leave them.
UPDATE users
SET password_hash = %(new_hash)s
WHERE lower(email) = lower(%(email)s)
    AND password_hash = %(old_hash)s
RETURNING id;
