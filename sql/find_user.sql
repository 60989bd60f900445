-- The account with this address, whatever its case, for login; users_email_key serves it.
SELECT id, email, password_hash
FROM users
WHERE lower(email) = lower(%(email)s);
