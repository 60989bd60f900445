-- transactional: false
-- Swap the primary key for the one whose index is built. One statement: at no time is there no
-- primary key, and the lock, which stops reads and writes, is short. The index gets the
-- constraint's name. No foreign key may refer to the old key, and no ON CONFLICT of a release that
-- still serves may name its columns. After a kill this runs again, and finds that it is done. It is
-- marked as not transactional for its rollback, which builds the old index again.

DO $$
BEGIN
    IF to_regclass('tasks_new_pkey') IS NOT NULL THEN
        ALTER TABLE tasks
        DROP CONSTRAINT tasks_pkey,
        ADD CONSTRAINT tasks_pkey PRIMARY KEY USING INDEX tasks_new_pkey;
    END IF;
END;
$$;
