-- transactional: false
-- The orders of the lists by due date and by position. Nulls are last, as values that no task has,
-- so that a page can start after any task by one comparison. With CASE, because under row-level
-- security no index serves coalesce(), which PostgreSQL does not take to be leakproof. Built
-- without stopping writers: see 0008 for lock_timeout and DROP.

SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS tasks_user_id_due_on_id_idx;
-- It runs outside a transaction: the first line says so.
-- squawk-ignore ban-concurrent-index-creation-in-transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS tasks_user_id_due_on_id_idx
    ON tasks (user_id, (CASE WHEN due_on IS NULL THEN date 'infinity' ELSE due_on END), id);

DROP INDEX CONCURRENTLY IF EXISTS tasks_user_id_position_id_idx;
-- squawk-ignore ban-concurrent-index-creation-in-transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS tasks_user_id_position_id_idx
    ON tasks (user_id, (CASE WHEN position IS NULL THEN '~' ELSE position END), id);
