-- Add a constraint for what is written from now on. NOT VALID: the rows that are there aren't read,
-- so that the lock, which stops all else, is short. After the column is filled, not before: an
-- UPDATE of an old row has to satisfy it too.

-- There is none unless this is run a second time.
-- squawk-ignore ban-drop-constraint
ALTER TABLE tasks DROP CONSTRAINT IF EXISTS tasks_priority_check;
ALTER TABLE tasks
ADD CONSTRAINT tasks_priority_check
CHECK (priority IS NOT NULL AND priority BETWEEN 0 AND 3) NOT VALID;
