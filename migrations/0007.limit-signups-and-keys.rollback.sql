REVOKE DELETE ON idempotency_keys FROM taskapi_user;
DROP POLICY IF EXISTS only_expired_idempotency_keys ON idempotency_keys;
ALTER TABLE login_attempts DROP COLUMN IF EXISTS clients;
SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS idempotency_keys_user_id_created_at_idx;
