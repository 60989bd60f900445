-- The Idempotency-Keys that users have made tasks with. The first answer follows from the request,
-- which is the same each time, and from what the database made: no text is kept here that outlives
-- its task.

CREATE TABLE IF NOT EXISTS idempotency_keys (
    user_id uuid NOT NULL,
    key text NOT NULL,
    -- SHA-256 of what the first request asked for.
    request_hash bytea NOT NULL,
    -- No foreign key: a repeated request gets its answer even when the task is gone.
    task_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (user_id, key),
    CONSTRAINT idempotency_keys_user_id_fkey
        FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT idempotency_keys_key_check CHECK (key COLLATE "C" ~ '^[!-~]{1,255}$'),
    CONSTRAINT idempotency_keys_request_hash_check CHECK (octet_length(request_hash) = 32)
);

-- Serves the purge.
CREATE INDEX IF NOT EXISTS idempotency_keys_created_at_idx ON idempotency_keys (created_at);

GRANT SELECT ON idempotency_keys TO taskapi_user;
GRANT INSERT (user_id, key, request_hash, task_id) ON idempotency_keys TO taskapi_user;
GRANT UPDATE (key) ON idempotency_keys TO taskapi_user;
-- The key's row holds the id of the task that is created with it.
GRANT INSERT (id) ON tasks TO taskapi_user;
-- The purge acts for no user, and sees nothing but what has expired.
GRANT SELECT (user_id, key, created_at), DELETE ON idempotency_keys TO taskapi_login;

ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys FORCE ROW LEVEL SECURITY;

DROP POLICY IF EXISTS idempotency_keys_of_user ON idempotency_keys;
CREATE POLICY idempotency_keys_of_user ON idempotency_keys TO taskapi_user
    USING (user_id = current_user_id())
    WITH CHECK (user_id = current_user_id());

DROP POLICY IF EXISTS expired_idempotency_keys ON idempotency_keys;
CREATE POLICY expired_idempotency_keys ON idempotency_keys TO taskapi_login
    USING (created_at < now() - interval '24 hours');
