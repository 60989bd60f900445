-- transactional: false
-- Fill a column in batches, each committed by itself: no row is locked for longer than its batch,
-- and vacuum keeps pace. It follows the primary key, so that each row is visited once. It says how
-- far it is, and may be stopped at any time: the next `apply` goes on after the last batch. The
-- role needs BYPASSRLS, because row-level security would show it no tasks, and the right to set
-- session_replication_role, which keeps the trigger from changing updated_at.

SET session_replication_role = replica;

-- The last row of the batches that are done. The rollback of the column drops this table too.
CREATE TABLE IF NOT EXISTS tasks_priority_fill (last_id uuid NOT NULL, visited bigint NOT NULL);
INSERT INTO tasks_priority_fill (last_id, visited)
SELECT '00000000-0000-0000-0000-000000000000', 0
WHERE NOT EXISTS (SELECT FROM tasks_priority_fill);

DO $$
DECLARE
    fill tasks_priority_fill;
    batch uuid[];
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
        batch := ARRAY(SELECT id FROM tasks WHERE id > fill.last_id ORDER BY id LIMIT 1000);
        EXIT WHEN batch = '{}';
        UPDATE tasks
        SET priority = CASE WHEN title LIKE '!%' THEN 1 ELSE 0 END
        WHERE id = ANY(batch) AND priority IS NULL;
        UPDATE tasks_priority_fill
        SET last_id = batch[cardinality(batch)], visited = visited + cardinality(batch)
        RETURNING * INTO fill;
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
