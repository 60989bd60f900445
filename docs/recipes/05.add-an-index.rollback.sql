SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS tasks_user_id_priority_idx;
