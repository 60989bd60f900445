-- The values go with the columns.
DROP POLICY IF EXISTS tasks_of_owner ON tasks;
CREATE OR REPLACE TRIGGER tasks_set_updated_at
    BEFORE UPDATE ON tasks
    FOR EACH ROW EXECUTE FUNCTION tasks_set_updated_at();
DROP TRIGGER IF EXISTS tasks_stamp_completion ON tasks;
DROP TRIGGER IF EXISTS tasks_stamp_completion_of_new ON tasks;
ALTER TABLE tasks
DROP COLUMN IF EXISTS due_on,
DROP COLUMN IF EXISTS priority,
DROP COLUMN IF EXISTS labels,
DROP COLUMN IF EXISTS position,
DROP COLUMN IF EXISTS completed_at;
DROP FUNCTION IF EXISTS tasks_stamp_completion();
DROP FUNCTION IF EXISTS are_labels(text []);
