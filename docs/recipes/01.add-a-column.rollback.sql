ALTER TABLE tasks DROP COLUMN IF EXISTS priority;
-- What a fill that was stopped has left.
DROP TABLE IF EXISTS tasks_priority_fill;
