-- transactional: false
-- A task's id is unique among the tasks of its user: a client may choose it, and learns nothing
-- about the ids that others have. The index is there already, so the lock is held for a moment.

DO $$
BEGIN
    IF to_regclass('tasks_user_id_id_key') IS NOT NULL THEN
        ALTER TABLE tasks
            DROP CONSTRAINT tasks_pkey,
            ADD CONSTRAINT tasks_pkey PRIMARY KEY USING INDEX tasks_user_id_id_key;
    END IF;
END;
$$;
