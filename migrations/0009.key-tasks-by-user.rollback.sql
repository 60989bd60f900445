-- It fails if two users have a task with the same id: one of the two must go first.
SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS tasks_id_key;
-- squawk-ignore ban-concurrent-index-creation-in-transaction
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS tasks_id_key ON tasks (id);
DROP INDEX CONCURRENTLY IF EXISTS tasks_user_id_id_key;
-- squawk-ignore ban-concurrent-index-creation-in-transaction
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS tasks_user_id_id_key ON tasks (user_id, id);
RESET lock_timeout;
ALTER TABLE tasks
    DROP CONSTRAINT tasks_pkey,
    ADD CONSTRAINT tasks_pkey PRIMARY KEY USING INDEX tasks_id_key;
