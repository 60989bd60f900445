-- Create the account of an identity provider's user, unless it is there or another account has the
-- email. Neither fails, so that of two first writes at once both can go on.
-- @param user_id uuid
-- @param provider_email text
INSERT INTO users (id, email)
VALUES (%(user_id)s, %(provider_email)s)
ON CONFLICT DO NOTHING;
