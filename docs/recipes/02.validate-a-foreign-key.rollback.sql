-- Not valid any more, as before.
ALTER TABLE tasks DROP CONSTRAINT IF EXISTS tasks_list_id_fkey;
ALTER TABLE tasks
ADD CONSTRAINT tasks_list_id_fkey FOREIGN KEY (list_id) REFERENCES lists (id) NOT VALID;
