-- Tries to log in, counted for all workers and machines; users of an identity provider.

-- Unlogged: a count that a crash forgets is no loss, and a login needn't wait for the disk.
CREATE UNLOGGED TABLE IF NOT EXISTS login_attempts (
    -- What is counted: `client:` and its network, or `address:` and a hash of the address, for that
    -- may be anything that was typed.
    key text NOT NULL,
    -- The last tries, the oldest first: as many as may fail within a minute.
    tried_at timestamptz[] NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT login_attempts_pkey PRIMARY KEY (key)
);

-- Serves the sweeping of what no longer counts.
CREATE INDEX IF NOT EXISTS login_attempts_expires_at_idx ON login_attempts (expires_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON login_attempts TO taskapi_login;

-- Login renews a hash that was made with outdated parameters.
GRANT UPDATE (password_hash) ON users TO taskapi_login;

-- Null: the account is an identity provider's, and no password opens it. The only client of this
-- column is login, which takes null for a wrong password.
-- squawk-ignore ban-drop-not-null
ALTER TABLE users ALTER COLUMN password_hash DROP NOT NULL;

-- Its user is created along with the first task, by the id that the token names.
GRANT INSERT (id, email) ON users TO taskapi_user;
DROP POLICY IF EXISTS users_of_id ON users;
CREATE POLICY users_of_id ON users FOR INSERT TO taskapi_user
    WITH CHECK (id = current_user_id() AND password_hash IS NULL);
