-- As the way there: build first, then swap under the usual lock timeout.
SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS tasks_old_pkey;
-- It runs outside a transaction: the migration's first line says so.
-- squawk-ignore ban-concurrent-index-creation-in-transaction
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS tasks_old_pkey ON tasks (id);
DROP INDEX CONCURRENTLY IF EXISTS tasks_new_pkey;
-- squawk-ignore ban-concurrent-index-creation-in-transaction
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS tasks_new_pkey ON tasks (user_id, id);
RESET lock_timeout;
ALTER TABLE tasks
DROP CONSTRAINT tasks_pkey,
ADD CONSTRAINT tasks_pkey PRIMARY KEY USING INDEX tasks_old_pkey;
