-- transactional: false
-- Make a column NOT NULL. The valid constraint of the migrations before proves that no row is null,
-- so that the table is not read and the lock is short. Then the constraint is superfluous. Two
-- statements: one ALTER TABLE would drop the constraint first, and read the table.

-- squawk-ignore adding-not-nullable-field
ALTER TABLE tasks ALTER COLUMN priority SET NOT NULL;
-- squawk-ignore ban-drop-constraint
ALTER TABLE tasks DROP CONSTRAINT IF EXISTS tasks_priority_is_set;
