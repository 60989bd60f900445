DROP TABLE IF EXISTS idempotency_keys;
REVOKE INSERT (id) ON tasks FROM taskapi_user;
