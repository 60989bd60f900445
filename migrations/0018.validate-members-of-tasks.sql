-- Check the rows that were there before the constraints. This reads the whole table under a lock
-- that blocks neither reads nor writes. It is a migration of its own: in those before, it would run
-- under the lock of ADD CONSTRAINT.

ALTER TABLE tasks
VALIDATE CONSTRAINT tasks_due_on_check,
VALIDATE CONSTRAINT tasks_priority_check,
VALIDATE CONSTRAINT tasks_labels_check,
VALIDATE CONSTRAINT tasks_position_check,
VALIDATE CONSTRAINT tasks_completed_at_check;
