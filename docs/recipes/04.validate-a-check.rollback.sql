-- Not valid any more, as before.
ALTER TABLE tasks
DROP CONSTRAINT IF EXISTS tasks_priority_check,
DROP CONSTRAINT IF EXISTS tasks_priority_is_set;
ALTER TABLE tasks
ADD CONSTRAINT tasks_priority_check CHECK (priority BETWEEN 0 AND 3) NOT VALID,
ADD CONSTRAINT tasks_priority_is_set CHECK (priority IS NOT NULL) NOT VALID;
