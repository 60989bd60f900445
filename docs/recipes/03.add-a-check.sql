-- Add constraints for what is written from now on. NOT VALID: existing rows are not read, so that
-- the lock, which stops reads and writes, is short. Do this after the column is filled: an UPDATE
-- of an old row has to satisfy the constraints too.

-- They exist only if this is run a second time.
-- squawk-ignore ban-drop-constraint
ALTER TABLE tasks DROP CONSTRAINT IF EXISTS tasks_priority_check;
-- squawk-ignore ban-drop-constraint
ALTER TABLE tasks DROP CONSTRAINT IF EXISTS tasks_priority_is_set;
ALTER TABLE tasks
ADD CONSTRAINT tasks_priority_check CHECK (priority BETWEEN 0 AND 3) NOT VALID,
ADD CONSTRAINT tasks_priority_is_set CHECK (priority IS NOT NULL) NOT VALID;
