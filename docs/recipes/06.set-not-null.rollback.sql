-- The constraint first, so that at no time a null gets in. Each statement is a transaction, because
-- the migration's first line says so: squawk takes them for one.
ALTER TABLE tasks DROP CONSTRAINT IF EXISTS tasks_priority_is_set;
ALTER TABLE tasks ADD CONSTRAINT tasks_priority_is_set CHECK (priority IS NOT NULL) NOT VALID;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE tasks VALIDATE CONSTRAINT tasks_priority_is_set;
-- squawk-ignore ban-drop-not-null
ALTER TABLE tasks ALTER COLUMN priority DROP NOT NULL;
