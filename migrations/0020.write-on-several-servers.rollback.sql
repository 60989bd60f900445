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
            at = greatest(now(), at + interval '1 microsecond', after + interval '1 microsecond'),
            advanced_by = pg_current_xact_id()
        WHERE user_id = of_user
        RETURNING at INTO shown;
    END IF;
    IF shown IS NULL THEN
        -- The user's first write, or the first since there are clocks
        INSERT INTO clocks (user_id, at, advanced_by)
        SELECT
            of_user,
            greatest(now(), max(updated_at) + interval '1 microsecond'),
            pg_current_xact_id()
        FROM tasks
        WHERE user_id = of_user
        ON CONFLICT (user_id) DO UPDATE
            SET
                at = greatest(
                    now(),
                    clocks.at + interval '1 microsecond',
                    after + interval '1 microsecond'
                ),
                advanced_by = excluded.advanced_by
        RETURNING at INTO shown;
    END IF;
    RETURN shown;
END;
$$;

CREATE OR REPLACE FUNCTION tasks_set_times() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := advance_clock(NEW.user_id);
    IF NEW.created_at = now() THEN
        NEW.created_at := NEW.updated_at;
    END IF;
    RETURN NEW;
END;
$$;

CREATE OR REPLACE FUNCTION idempotency_keys_set_created_at() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.created_at = now() THEN
        NEW.created_at := advance_clock(NEW.user_id);
    END IF;
    RETURN NEW;
END;
$$;

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

DO $do$
BEGIN
    EXECUTE format(
        'CREATE OR REPLACE FUNCTION users_revoke_tokens() RETURNS trigger '
            'LANGUAGE plpgsql SECURITY DEFINER SET search_path = %I, pg_temp AS %L',
        current_schema(),
        $body$
BEGIN
    INSERT INTO revocations (user_id, tokens_not_before) VALUES (OLD.id, 'infinity')
    ON CONFLICT (user_id) DO UPDATE SET tokens_not_before = 'infinity';
    RETURN NULL;
END;
$body$
    );
END;
$do$;

DROP POLICY IF EXISTS users_of_closed_email ON users;
CREATE POLICY users_of_closed_email ON users FOR SELECT TO taskapi_login
    USING (lower(email) = lower(current_setting('app.closed_email', true)));
COMMENT ON POLICY users_of_closed_email ON users IS
    'The statement that closes an account sees it also with its new email.';
