-- transactional: false
-- Drop a column, in two releases. With the first one, whose code no longer reads or writes the
-- column, go the constraints that would refuse a row without it: NOT NULL, a check, a foreign key.
-- The column stays, because the release before may still serve and reads it. Not transactional for
-- the rollback, which validates the constraint again.

-- squawk-ignore ban-drop-constraint
ALTER TABLE tasks DROP CONSTRAINT IF EXISTS tasks_list_id_fkey;
