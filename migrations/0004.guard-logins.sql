-- Tries to log in, counted for all workers and machines; users of an identity provider.

-- Unlogged: a count that a crash forgets is no loss, and a login needn't wait for the disk.
CREATE UNLOGGED TABLE IF NOT EXISTS login_attempts (
    -- What is counted: an address, hashed, since it may be anything that was typed, or a client.
    key text NOT NULL,
    -- The last tries, the oldest first, as many as may fail within a minute.
    tried_at timestamptz[] NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT login_attempts_pkey PRIMARY KEY (key)
);

-- Serves the sweeping of what no longer counts.
CREATE INDEX IF NOT EXISTS login_attempts_expires_at_idx ON login_attempts (expires_at);

-- Null: the account is an identity provider's, and no password opens it.
ALTER TABLE users ALTER COLUMN password_hash DROP NOT NULL;
