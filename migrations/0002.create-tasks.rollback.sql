DROP TABLE IF EXISTS tasks;
DROP FUNCTION IF EXISTS tasks_set_updated_at();
