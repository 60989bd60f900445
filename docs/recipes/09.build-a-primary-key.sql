-- transactional: false
-- Build the index of another primary key without stopping writes. All its columns are NOT NULL
-- already: if one is not, the next migration reads the whole table under its lock.

SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS tasks_new_pkey;
-- It runs outside a transaction: the first line says so.
-- squawk-ignore ban-concurrent-index-creation-in-transaction
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS tasks_new_pkey ON tasks (user_id, id);
