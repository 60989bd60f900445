-- transactional: false
-- Indexes that are built without stopping writers, for the two migrations that follow: the primary
-- key that tasks will have, and the order in which a user's tasks have changed.
--
-- lock_timeout is off: a build waits for older transactions, however long they take, and no session
-- waits for it. An attempt that failed leaves an invalid index, hence each DROP.

SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS tasks_user_id_id_key;
-- It runs outside a transaction: the first line says so.
-- squawk-ignore ban-concurrent-index-creation-in-transaction
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS tasks_user_id_id_key ON tasks (user_id, id);

DROP INDEX CONCURRENTLY IF EXISTS tasks_user_id_updated_at_id_idx;
-- squawk-ignore ban-concurrent-index-creation-in-transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS tasks_user_id_updated_at_id_idx
    ON tasks (user_id, updated_at, id);
