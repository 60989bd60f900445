-- A task has completed_at if, and only if, it is completed: for what is written from now on, after
-- the column is filled, because an UPDATE of an old row has to satisfy the constraint too.

-- It exists only if this is run a second time.
-- squawk-ignore ban-drop-constraint
ALTER TABLE tasks DROP CONSTRAINT IF EXISTS tasks_completed_at_check;
ALTER TABLE tasks
ADD CONSTRAINT tasks_completed_at_check
CHECK (completed = (completed_at IS NOT NULL)) NOT VALID;

DROP POLICY IF EXISTS tasks_of_owner ON tasks;

-- For every change again.
CREATE OR REPLACE TRIGGER tasks_set_updated_at
    BEFORE UPDATE ON tasks
    FOR EACH ROW EXECUTE FUNCTION tasks_set_updated_at();
