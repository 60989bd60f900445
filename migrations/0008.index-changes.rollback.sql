SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS tasks_user_id_id_key;
DROP INDEX CONCURRENTLY IF EXISTS tasks_user_id_updated_at_id_idx;
