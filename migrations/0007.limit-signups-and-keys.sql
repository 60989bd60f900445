-- transactional: false
-- Sign-ups are counted for each client, and a user's idempotency keys are limited.

-- For sign-ups, the client of each element of tried_at, because the clients of an IPv6 block share
-- a row. Null for logins.
ALTER TABLE login_attempts ADD COLUMN IF NOT EXISTS clients text[];

-- A user's request deletes some of the user's expired keys, and can delete no others.
DROP POLICY IF EXISTS only_expired_idempotency_keys ON idempotency_keys;
CREATE POLICY only_expired_idempotency_keys ON idempotency_keys
    AS RESTRICTIVE FOR DELETE TO taskapi_user
    USING (created_at < now() - interval '24 hours');
GRANT DELETE ON idempotency_keys TO taskapi_user;

-- Counts a user's keys that have not expired, and finds those that have. Built without stopping
-- writers; the build waits for older transactions, however long they take.
SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS idempotency_keys_user_id_created_at_idx;
-- It runs outside a transaction: the first line says so.
-- squawk-ignore ban-concurrent-index-creation-in-transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS idempotency_keys_user_id_created_at_idx
    ON idempotency_keys (user_id, created_at);
