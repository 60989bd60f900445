-- More of a task: due date, priority, labels, manual order, and when it was completed. The lock is
-- short: constant defaults rewrite no row, and NOT VALID reads none; 0018 reads them, beside
-- writers. What the release before writes gets the defaults, and its time of completion from the
-- trigger.

-- Whether these can be a task's labels: distinct, each of 1 to 50 characters without white space at
-- the ends, which is spelled out for the title as well.
CREATE OR REPLACE FUNCTION are_labels(labels text[]) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT coalesce(array_ndims(labels), 1) = 1
        AND count(*) = count(DISTINCT label)
        AND coalesce(
            bool_and(
                char_length(label) BETWEEN 1 AND 50
                AND label = btrim(
                    label,
                    E' \t\n\x0B\f\r\x1C\x1D\x1E\x1F\u0085\u00A0\u1680\u2000\u2001\u2002\u2003\u2004'
                    '\u2005\u2006\u2007\u2008\u2009\u200A\u2028\u2029\u202F\u205F\u3000'
                )
            ),
            true
        )
    FROM unnest(labels) AS label;
$$;

-- The clock's time, which the triggers before have put into updated_at: PostgreSQL runs a table's
-- triggers in the order of their names. An import keeps its own.
CREATE OR REPLACE FUNCTION tasks_stamp_completion() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF NOT NEW.completed THEN
        NEW.completed_at := NULL;
    ELSIF TG_OP = 'UPDATE' OR NEW.completed_at IS NULL THEN
        NEW.completed_at := NEW.updated_at;
    END IF;
    RETURN NEW;
END;
$$;

ALTER TABLE tasks
ADD COLUMN IF NOT EXISTS due_on date,
-- Two bytes are enough for ten priorities.
-- squawk-ignore prefer-bigint-over-smallint
ADD COLUMN IF NOT EXISTS priority smallint NOT NULL DEFAULT 0,
ADD COLUMN IF NOT EXISTS labels text [] NOT NULL DEFAULT '{}',
-- Compared byte by byte, whatever the database's locale.
ADD COLUMN IF NOT EXISTS position text COLLATE "C",
ADD COLUMN IF NOT EXISTS completed_at timestamptz,
-- The schema's rules. The constraints exist only if this is run a second time.
-- squawk-ignore ban-drop-constraint
DROP CONSTRAINT IF EXISTS tasks_due_on_check,
-- squawk-ignore ban-drop-constraint
DROP CONSTRAINT IF EXISTS tasks_priority_check,
-- squawk-ignore ban-drop-constraint
DROP CONSTRAINT IF EXISTS tasks_labels_check,
-- squawk-ignore ban-drop-constraint
DROP CONSTRAINT IF EXISTS tasks_position_check,
ADD CONSTRAINT tasks_due_on_check
CHECK (due_on BETWEEN date '0001-01-01' AND date '9999-12-31') NOT VALID,
ADD CONSTRAINT tasks_priority_check CHECK (priority BETWEEN 0 AND 9) NOT VALID,
-- Most tasks have none, and need no function.
ADD CONSTRAINT tasks_labels_check
CHECK (labels = '{}' OR (cardinality(labels) <= 20 AND are_labels(labels))) NOT VALID,
ADD CONSTRAINT tasks_position_check CHECK (position ~ '^[0-9A-Za-z]{1,64}$') NOT VALID;

CREATE OR REPLACE TRIGGER tasks_stamp_completion_of_new
    BEFORE INSERT ON tasks
    FOR EACH ROW WHEN (new.completed OR new.completed_at IS NOT NULL)
    EXECUTE FUNCTION tasks_stamp_completion();

CREATE OR REPLACE TRIGGER tasks_stamp_completion
    BEFORE UPDATE ON tasks
    FOR EACH ROW WHEN (old.completed IS DISTINCT FROM new.completed)
    EXECUTE FUNCTION tasks_stamp_completion();

-- Until 0017, not for what 0016 does: it tells when a task was completed, and changes nothing.
-- Nobody but the owner may set that.
CREATE OR REPLACE TRIGGER tasks_set_updated_at
    BEFORE UPDATE ON tasks
    FOR EACH ROW WHEN (old.completed_at IS NOT DISTINCT FROM new.completed_at)
    EXECUTE FUNCTION tasks_set_updated_at();

GRANT INSERT (due_on, priority, labels, position) ON tasks TO taskapi_user;
GRANT UPDATE (due_on, priority, labels, position) ON tasks TO taskapi_user;

-- Until 0017, so that 0016 sees the tasks it fills: row-level security is forced for their owner.
DROP POLICY IF EXISTS tasks_of_owner ON tasks;
CREATE POLICY tasks_of_owner ON tasks TO current_user USING (TRUE);

COMMENT ON COLUMN tasks.due_on IS
    'The calendar date when it is due, in no time zone. Null: at none.';
COMMENT ON COLUMN tasks.priority IS
    'As in iCalendar (RFC 5545): 1 is the highest, 9 the lowest, 0 undefined.';
COMMENT ON COLUMN tasks.labels IS 'Up to 20 distinct texts, in the client''s order.';
COMMENT ON COLUMN tasks.position IS
    'Where it stands in the manual order: a fractional index that the client chooses. Null: after '
    'all others.';
COMMENT ON COLUMN tasks.completed_at IS
    'When completed became true, by a trigger. Null: it is not.';
COMMENT ON FUNCTION are_labels(text []) IS
    'Tells whether these can be a task''s labels: distinct, each of 1 to 50 characters, trimmed.';
COMMENT ON FUNCTION tasks_stamp_completion() IS
    'Trigger of tasks: sets or clears completed_at when completed changes.';
COMMENT ON POLICY tasks_of_owner ON tasks IS
    'Until the next migrations are applied, the owner sees all tasks, to fill a column.';
