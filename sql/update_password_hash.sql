-- Replace the hash of a password by a stronger one of the same; one changed meanwhile is left.
UPDATE users
SET password_hash = %(new_hash)s
WHERE id = %(id)s
    AND password_hash = %(old_hash)s
RETURNING id;
