-- Find the account with an email, for an operator.
-- @param email text
-- @return id, email; or no row
SELECT id, email
FROM users
WHERE lower(email) = lower(%(email)s);
