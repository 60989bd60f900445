-- transactional: false
-- Fill a column in batches, each committed by itself: no row is locked for longer than its batch,
-- and vacuum keeps pace. It follows the primary key, so that each row is visited once. It says how
-- far it is, and may be stopped at any time: the next `apply` goes on after the last batch. The
-- role needs BYPASSRLS, because row-level security would show it no tasks, and the right to set
-- session_replication_role, which keeps the trigger from changing updated_at.

SET session_replication_role = replica;

-- The last row of the batches that are done. The rollback of the column drops this table too.
CREATE TABLE IF NOT EXISTS tasks_priority_fill (
    last_user_id uuid NOT NULL,
    last_id uuid NOT NULL,
    visited bigint NOT NULL
);
INSERT INTO tasks_priority_fill (last_user_id, last_id, visited)
SELECT '00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-000000000000', 0
WHERE NOT EXISTS (SELECT FROM tasks_priority_fill);

DO $$
DECLARE
    fill tasks_priority_fill;
    -- By the statistics of the last vacuum or ANALYZE.
    estimate CONSTANT bigint := (
        SELECT greatest(reltuples, 1) FROM pg_class WHERE oid = 'tasks'::regclass
    );
    percent bigint;
BEGIN
    SELECT * INTO STRICT fill FROM tasks_priority_fill;
    IF fill.visited > 0 THEN
        RAISE INFO 'going on after % tasks', fill.visited;
    END IF;
    LOOP
        WITH batch AS (
            SELECT user_id, id
            FROM tasks
            WHERE (user_id, id) > (fill.last_user_id, fill.last_id)
            ORDER BY user_id, id
            LIMIT 1000
        ), filled AS (
            UPDATE tasks
            SET priority = CASE WHEN title LIKE '!%' THEN 1 ELSE 0 END
            FROM batch
            WHERE tasks.user_id = batch.user_id AND tasks.id = batch.id AND tasks.priority IS NULL
        )
        UPDATE tasks_priority_fill
        SET (last_user_id, last_id, visited) = (
            SELECT user_id, id, fill.visited + (SELECT count(*) FROM batch)
            FROM batch
            ORDER BY user_id DESC, id DESC
            LIMIT 1
        )
        WHERE EXISTS (SELECT FROM batch)
        RETURNING * INTO fill;
        EXIT WHEN NOT FOUND;
        COMMIT;
        IF percent IS DISTINCT FROM 100 * fill.visited / estimate THEN
            percent := 100 * fill.visited / estimate;
            RAISE INFO '% of about % tasks', fill.visited, estimate;
        END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
END;
$$;

-- squawk-ignore ban-drop-table
DROP TABLE tasks_priority_fill;
