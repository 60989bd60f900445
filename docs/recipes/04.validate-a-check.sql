-- Check the rows that existed before. This reads the whole table under a lock that blocks neither
-- reads nor writes. It is a migration of its own: in the one before, it would run under the lock of
-- ADD CONSTRAINT.

ALTER TABLE tasks VALIDATE CONSTRAINT tasks_priority_check;
ALTER TABLE tasks VALIDATE CONSTRAINT tasks_priority_is_set;
