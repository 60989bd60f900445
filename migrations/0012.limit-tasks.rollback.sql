DROP TRIGGER IF EXISTS tasks_count_created ON tasks;
DROP TRIGGER IF EXISTS tasks_count_deleted ON tasks;
DROP TRIGGER IF EXISTS tasks_count_again ON tasks;
DROP FUNCTION IF EXISTS tasks_count_created();
DROP FUNCTION IF EXISTS tasks_count_deleted();
DROP FUNCTION IF EXISTS tasks_count_again();
ALTER TABLE clocks DROP COLUMN IF EXISTS tasks;
