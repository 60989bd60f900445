-- transactional: false
-- Fill a column in batches, each committed by itself: no row is locked for longer than its batch,
-- and vacuum keeps pace. It follows the primary key, so that each row is visited once, and can be
-- run again. The role needs BYPASSRLS, because row-level security would show it no tasks, and the
-- right to set session_replication_role, which keeps the trigger from changing updated_at.

SET session_replication_role = replica;

DO $$
DECLARE
    batch uuid[];
    last uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    LOOP
        batch := ARRAY(SELECT id FROM tasks WHERE id > last ORDER BY id LIMIT 1000);
        EXIT WHEN batch = '{}';
        UPDATE tasks
        SET priority = CASE WHEN title LIKE '!%' THEN 1 ELSE 0 END
        WHERE id = ANY(batch) AND priority IS NULL;
        COMMIT;
        last := batch[cardinality(batch)];
        PERFORM pg_sleep(0.01);
    END LOOP;
END;
$$;
