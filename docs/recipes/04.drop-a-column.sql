-- With the release after that, when nothing reads the column, drop it. No row is rewritten, so the
-- lock is short; the space of the values is free when their rows are written again. If the column
-- has an index, drop that first, with DROP INDEX CONCURRENTLY.

-- squawk-ignore ban-drop-column
ALTER TABLE tasks DROP COLUMN IF EXISTS list_id;
