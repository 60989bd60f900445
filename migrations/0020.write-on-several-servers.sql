-- transactional: false
-- The triggers of 0010 and 0012 in a form that also works where Citus distributes the tables over
-- several servers (deploy/citus/distribute.sql): each statement of theirs names one user and one
-- table, and computes with no function that is only stable, as timestamptz + interval is. They do
-- what they did, for the same price. Each statement is a transaction of its own, and holds no lock
-- that a request waits for.

CREATE OR REPLACE FUNCTION advance_clock(
    of_user uuid, after timestamptz DEFAULT '-infinity'
) RETURNS timestamptz
    LANGUAGE plpgsql AS $$
DECLARE
    shown timestamptz;
BEGIN
    -- Transaction ids begin again in a restored database, but there the clock is behind.
    SELECT at INTO shown
    FROM clocks
    WHERE user_id = of_user
        AND advanced_by = pg_current_xact_id()
        AND at >= now()
        AND at > after;
    IF shown IS NULL THEN
        UPDATE clocks
        SET
            at = greatest(
                now(),
                (at AT TIME ZONE 'UTC' + interval '1 microsecond') AT TIME ZONE 'UTC',
                after + interval '1 microsecond'
            ),
            advanced_by = pg_current_xact_id()
        WHERE user_id = of_user
        RETURNING at INTO shown;
    END IF;
    IF shown IS NULL THEN
        -- The user's first write, or the first since there are clocks
        SELECT
            greatest(
                now(), max(updated_at) + interval '1 microsecond', after + interval '1 microsecond'
            )
        INTO shown
        FROM tasks
        WHERE user_id = of_user;
        INSERT INTO clocks (user_id, at, advanced_by)
        VALUES (of_user, shown, pg_current_xact_id())
        ON CONFLICT (user_id) DO UPDATE
            SET
                at = greatest(
                    excluded.at,
                    (clocks.at AT TIME ZONE 'UTC' + interval '1 microsecond') AT TIME ZONE 'UTC'
                ),
                advanced_by = excluded.advanced_by
        RETURNING at INTO shown;
    END IF;
    RETURN shown;
END;
$$;

-- Distributed tables have no defaults for times: the coordinator would fill them in by its clock.
CREATE OR REPLACE FUNCTION tasks_set_times() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := advance_clock(NEW.user_id);
    IF coalesce(NEW.created_at = now(), true) THEN
        NEW.created_at := NEW.updated_at;
    END IF;
    RETURN NEW;
END;
$$;

CREATE OR REPLACE FUNCTION idempotency_keys_set_created_at() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(NEW.created_at = now(), true) THEN
        NEW.created_at := advance_clock(NEW.user_id);
    END IF;
    RETURN NEW;
END;
$$;

-- The SQLSTATE of no other error, because a distributed database loses the constraint's name.
CREATE OR REPLACE FUNCTION tasks_count_created() RETURNS trigger
    LANGUAGE plpgsql AS $$
DECLARE
    most CONSTANT bigint := nullif(current_setting('app.max_tasks', true), '');
    more record;
    total bigint;
BEGIN
    FOR more IN SELECT user_id, count(*) AS tasks FROM created GROUP BY user_id LOOP
        UPDATE clocks
        SET tasks = clocks.tasks + more.tasks
        WHERE user_id = more.user_id
        RETURNING tasks INTO total;
        IF total IS NULL THEN
            SELECT count(*) INTO total FROM tasks WHERE user_id = more.user_id;
            UPDATE clocks SET tasks = total WHERE user_id = more.user_id;
        END IF;
        IF total > most THEN
            RAISE EXCEPTION 'the user would have % tasks, and may have %', total, most
                USING
                    ERRCODE = 'integrity_constraint_violation',
                    TABLE = 'tasks',
                    CONSTRAINT = 'tasks_of_user_max';
        END IF;
    END LOOP;
    RETURN NULL;
END;
$$;

CREATE OR REPLACE FUNCTION tasks_count_deleted() RETURNS trigger
    LANGUAGE plpgsql AS $$
DECLARE
    less record;
BEGIN
    FOR less IN SELECT user_id, count(*) AS tasks FROM deleted GROUP BY user_id LOOP
        UPDATE clocks SET tasks = clocks.tasks - less.tasks WHERE user_id = less.user_id;
    END LOOP;
    RETURN NULL;
END;
$$;

-- users is on each of several servers, revocations on one of them. What runs with its owner's
-- rights finds its tables in this schema only.
DO $do$
BEGIN
    EXECUTE format(
        'CREATE OR REPLACE FUNCTION users_revoke_tokens() RETURNS trigger '
            'LANGUAGE plpgsql SECURITY DEFINER SET search_path = %I, pg_temp AS %L',
        current_schema(),
        $body$
BEGIN
    IF to_regclass('revocations') IS NOT NULL THEN
        INSERT INTO revocations (user_id, tokens_not_before) VALUES (OLD.id, 'infinity')
        ON CONFLICT (user_id) DO UPDATE SET tokens_not_before = 'infinity';
    END IF;
    RETURN NULL;
END;
$body$
    );
END;
$do$;

-- An account that is being closed, also with its new email. That was a setting of the statement's,
-- which other servers do not get.
DROP POLICY IF EXISTS users_of_closed_email ON users;
CREATE POLICY users_of_closed_email ON users FOR SELECT TO taskapi_login
    USING (lower(email) = lower(current_setting('app.user_id', true) || '@closed.invalid'));
COMMENT ON POLICY users_of_closed_email ON users IS
    'The statement that closes an account sees it also with its new email.';
