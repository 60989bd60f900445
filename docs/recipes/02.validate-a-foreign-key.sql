-- Check the rows that existed before. This reads the whole table, and of the other one what it
-- needs, under locks that block neither reads nor writes.

ALTER TABLE tasks VALIDATE CONSTRAINT tasks_list_id_fkey;
