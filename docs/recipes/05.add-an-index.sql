-- transactional: false
-- Add an index without stopping writes. An attempt that failed leaves an invalid index, hence the
-- DROP. lock_timeout is off: this waits for every older transaction, and no session waits for it.

SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS tasks_user_id_priority_idx;
-- It runs outside a transaction: the first line says so.
-- squawk-ignore ban-concurrent-index-creation-in-transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS tasks_user_id_priority_idx ON tasks (user_id, priority);
