-- transactional: false
-- Add an index without stopping writers. One that failed half way is there and invalid, hence the
-- DROP. lock_timeout is off: it waits for every older transaction, and no session waits for it.

SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS tasks_user_id_priority_idx;
-- It runs outside a transaction: the first line says so.
-- squawk-ignore ban-concurrent-index-creation-in-transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS tasks_user_id_priority_idx ON tasks (user_id, priority);
