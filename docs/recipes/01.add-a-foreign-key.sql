-- Add a foreign key for what is written from now on. NOT VALID: existing rows are not read, so that
-- the lock on both tables, which stops writes, is short. ON DELETE needs an index on the column,
-- built as 0019 builds one, or each deletion in the other table reads all tasks.

CREATE TABLE IF NOT EXISTS lists (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    CONSTRAINT lists_pkey PRIMARY KEY (id)
);
ALTER TABLE tasks ADD COLUMN IF NOT EXISTS list_id uuid;
-- It exists only if this is run a second time.
-- squawk-ignore ban-drop-constraint
ALTER TABLE tasks DROP CONSTRAINT IF EXISTS tasks_list_id_fkey;
ALTER TABLE tasks
ADD CONSTRAINT tasks_list_id_fkey FOREIGN KEY (list_id) REFERENCES lists (id) NOT VALID;
