-- transactional: false
-- How many tasks a user has, kept along with the clock that each write locks, so that a limit is
-- exact whatever is written at once. The limit is the service's: it sets app.max_tasks for its
-- transactions, and what a DBA types has none. Each statement is a
-- transaction of its own: one that locked two tables could deadlock with a request.

-- Null: not counted yet. After TRUNCATE, or writes with session_replication_role = replica, set it
-- to null again.
ALTER TABLE clocks ADD COLUMN IF NOT EXISTS tasks bigint;

GRANT UPDATE (tasks) ON clocks TO taskapi_user;

CREATE OR REPLACE FUNCTION tasks_count_created() RETURNS trigger
    LANGUAGE plpgsql AS $$
DECLARE
    most CONSTANT bigint := nullif(current_setting('app.max_tasks', true), '');
    total bigint;
BEGIN
    WITH more AS (
        SELECT user_id, count(*) AS tasks
        FROM created
        GROUP BY user_id
    ), counted AS (
        UPDATE clocks
        SET tasks = coalesce(
            clocks.tasks + more.tasks,
            (SELECT count(*) FROM tasks WHERE tasks.user_id = clocks.user_id)
        )
        FROM more
        WHERE clocks.user_id = more.user_id
        RETURNING clocks.tasks
    )
    SELECT max(tasks) INTO total FROM counted;
    IF total > most THEN
        RAISE EXCEPTION 'the user would have % tasks, and may have %', total, most
            USING ERRCODE = 'check_violation', TABLE = 'tasks', CONSTRAINT = 'tasks_of_user_max';
    END IF;
    RETURN NULL;
END;
$$;

CREATE OR REPLACE FUNCTION tasks_count_deleted() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    UPDATE clocks
    SET tasks = clocks.tasks - less.tasks
    FROM (
        SELECT user_id, count(*) AS tasks
        FROM deleted
        GROUP BY user_id
    ) AS less
    WHERE clocks.user_id = less.user_id;
    RETURN NULL;
END;
$$;

CREATE OR REPLACE FUNCTION tasks_count_again() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    UPDATE clocks SET tasks = NULL WHERE user_id IN (OLD.user_id, NEW.user_id);
    RETURN NULL;
END;
$$;

CREATE OR REPLACE TRIGGER tasks_count_created
    AFTER INSERT ON tasks REFERENCING NEW TABLE AS created
    FOR EACH STATEMENT EXECUTE FUNCTION tasks_count_created();

CREATE OR REPLACE TRIGGER tasks_count_deleted
    AFTER DELETE ON tasks REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0 AND current_user <> 'taskapi_login')
    EXECUTE FUNCTION tasks_count_deleted();

CREATE OR REPLACE TRIGGER tasks_count_again
    AFTER UPDATE OF user_id ON tasks
    FOR EACH ROW WHEN (old.user_id IS DISTINCT FROM new.user_id)
    EXECUTE FUNCTION tasks_count_again();
