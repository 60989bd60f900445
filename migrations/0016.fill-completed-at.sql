-- transactional: false
-- Fill completed_at of the tasks that are completed already, with the time of their last change. In
-- batches, each committed by itself, in the order of the primary key: no row is locked for longer
-- than its batch, and vacuum keeps pace. It may be stopped at any time: the next `apply` reads
-- again what is done, and goes on.
--
-- Nothing else changes: the trigger of updated_at knows this statement, so that no client sees a
-- change, and no feed has one. A client sees the new member in a task that it reads again, because
-- its ETag of the release before has another hash.

DO $$
DECLARE
    last_user_id uuid := '00000000-0000-0000-0000-000000000000';
    last_id uuid := '00000000-0000-0000-0000-000000000000';
    visited bigint := 0;
    batch_size bigint;
    -- By the statistics of the last vacuum or ANALYZE.
    estimate CONSTANT bigint := (
        SELECT greatest(reltuples, 1) FROM pg_class WHERE oid = 'tasks'::regclass
    );
    percent bigint := 0;
BEGIN
    LOOP
        WITH batch AS (
            SELECT user_id, id
            FROM tasks
            WHERE (user_id, id) > (last_user_id, last_id)
            ORDER BY user_id, id
            LIMIT 1000
        ), filled AS (
            UPDATE tasks
            SET completed_at = tasks.updated_at
            FROM batch
            WHERE tasks.user_id = batch.user_id
                AND tasks.id = batch.id
                AND tasks.completed
                AND tasks.completed_at IS NULL
        ), last AS (
            SELECT user_id, id
            FROM batch
            ORDER BY user_id DESC, id DESC
            LIMIT 1
        )
        SELECT last.user_id, last.id, (SELECT count(*) FROM batch)
        INTO last_user_id, last_id, batch_size
        FROM last;
        EXIT WHEN NOT FOUND;
        COMMIT;
        visited := visited + batch_size;
        IF percent < 100 * visited / estimate THEN
            percent := 100 * visited / estimate;
            RAISE INFO '% of about % tasks', visited, estimate;
        END IF;
        PERFORM pg_sleep(0.002);
    END LOOP;
END;
$$;
