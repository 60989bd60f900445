SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS tasks_new_pkey;
