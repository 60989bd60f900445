-- Not valid any more, as before.
ALTER TABLE tasks DROP CONSTRAINT IF EXISTS tasks_priority_check;
ALTER TABLE tasks
ADD CONSTRAINT tasks_priority_check
CHECK (priority IS NOT NULL AND priority BETWEEN 0 AND 3) NOT VALID;
