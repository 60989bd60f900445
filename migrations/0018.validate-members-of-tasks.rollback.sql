-- Not valid any more, as before.
ALTER TABLE tasks
DROP CONSTRAINT IF EXISTS tasks_due_on_check,
DROP CONSTRAINT IF EXISTS tasks_priority_check,
DROP CONSTRAINT IF EXISTS tasks_labels_check,
DROP CONSTRAINT IF EXISTS tasks_position_check,
DROP CONSTRAINT IF EXISTS tasks_completed_at_check,
ADD CONSTRAINT tasks_due_on_check
CHECK (due_on BETWEEN date '0001-01-01' AND date '9999-12-31') NOT VALID,
ADD CONSTRAINT tasks_priority_check CHECK (priority BETWEEN 0 AND 9) NOT VALID,
ADD CONSTRAINT tasks_labels_check
CHECK (labels = '{}' OR (cardinality(labels) <= 20 AND are_labels(labels))) NOT VALID,
ADD CONSTRAINT tasks_position_check CHECK (position ~ '^[0-9A-Za-z]{1,64}$') NOT VALID,
ADD CONSTRAINT tasks_completed_at_check
CHECK (completed = (completed_at IS NOT NULL)) NOT VALID;
