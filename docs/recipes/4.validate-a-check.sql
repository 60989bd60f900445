-- Check the rows that were there before. Reads the whole table under a lock that readers and
-- writers don't feel; a migration of its own, or it would be read under the lock of ADD CONSTRAINT.

ALTER TABLE tasks VALIDATE CONSTRAINT tasks_priority_check;
