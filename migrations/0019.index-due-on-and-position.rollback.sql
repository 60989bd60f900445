SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS tasks_user_id_due_on_id_idx;
DROP INDEX CONCURRENTLY IF EXISTS tasks_user_id_position_id_idx;
