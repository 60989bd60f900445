-- The bytes of the tasks with their indexes.
SELECT pg_total_relation_size('tasks') AS bytes;
