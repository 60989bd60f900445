-- Create an account. An email that another account has, in any case, violates users_email_key.
-- @param email text
-- @param password_hash text: Argon2id
-- @return the account
INSERT INTO users (email, password_hash)
VALUES (%(email)s, %(password_hash)s)
RETURNING id, email;
