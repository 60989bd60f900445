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
