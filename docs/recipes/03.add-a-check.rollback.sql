ALTER TABLE tasks
DROP CONSTRAINT IF EXISTS tasks_priority_check,
DROP CONSTRAINT IF EXISTS tasks_priority_is_set;
