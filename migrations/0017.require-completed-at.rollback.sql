ALTER TABLE tasks DROP CONSTRAINT IF EXISTS tasks_completed_at_check;
DROP POLICY IF EXISTS tasks_of_owner ON tasks;
CREATE POLICY tasks_of_owner ON tasks TO current_user USING (TRUE);
COMMENT ON POLICY tasks_of_owner ON tasks IS
    'Until the next migrations are applied, the owner sees all tasks, to fill a column.';
CREATE OR REPLACE TRIGGER tasks_set_updated_at
    BEFORE UPDATE ON tasks
    FOR EACH ROW WHEN (old.completed_at IS NOT DISTINCT FROM new.completed_at)
    EXECUTE FUNCTION tasks_set_updated_at();
