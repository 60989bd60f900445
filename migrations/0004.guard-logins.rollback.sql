-- Statements run from the last to the first. The users of an identity provider stay, with a hash that
-- no password has; they are found by the owner only while its policies don't hold for itself.
DROP TABLE IF EXISTS login_attempts;
REVOKE UPDATE (password_hash) ON users FROM taskapi_login;
REVOKE INSERT (id, email) ON users FROM taskapi_user;
DROP POLICY IF EXISTS users_of_id ON users;
ALTER TABLE users ALTER COLUMN password_hash SET NOT NULL;
ALTER TABLE users FORCE ROW LEVEL SECURITY;
UPDATE users SET password_hash = '!' WHERE password_hash IS NULL;
ALTER TABLE users NO FORCE ROW LEVEL SECURITY;
