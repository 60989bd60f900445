-- transactional: false
-- The change feed: a client that asks what has changed since a moment misses nothing.
--
-- Each user has a clock, which every write of the user's tasks advances. The time that it shows
-- becomes the task's updated_at, which is the task's place in the feed; a task that is deleted
-- leaves a row in deleted_tasks. The writer keeps the clock's row locked until its transaction
-- ends, and PostgreSQL shows a transaction before it releases its locks. So the next writer gets a
-- later time, and whoever can see a time on the clock can see every change up to it.
--
-- Considered and rejected, because a reader could pass a change that is committed later: a
-- sequence, now() alone, an advisory lock inside the statement (its snapshot is older than the
-- lock). The snapshot's horizon (pg_snapshot_xmin) misses nothing, but one long transaction
-- anywhere in the cluster stops all feeds, and transaction ids end with a dump and restore.
--
-- The triggers do it for each write, whoever types it. A transaction that changes or deletes tasks
-- of a user, be it one, runs `SELECT advance_clock('<user_id>')` first, as the service does: all
-- writers then lock in the same order, the clock before the tasks, and none can deadlock.
-- TRUNCATE, and writes with session_replication_role = replica, leave nothing in the feed.
--
-- Each statement is a transaction of its own: one that locked two tables could deadlock with a
-- request. So what a trigger needs comes before the trigger.

CREATE TABLE IF NOT EXISTS clocks (
    user_id uuid NOT NULL,
    at timestamptz NOT NULL,
    -- The transaction that advanced it last.
    advanced_by xid8 NOT NULL,
    -- Up to here, rows of deleted_tasks have been purged: who last asked before misses some.
    purged_at timestamptz NOT NULL DEFAULT '-infinity',
    -- No foreign key, because the first task of an identity provider's user advances the clock in
    -- the statement that creates the user. A trigger deletes the row with the user.
    CONSTRAINT clocks_pkey PRIMARY KEY (user_id)
)
-- Each write updates a row: room for its next version on the same page.
WITH (fillfactor = 50);

CREATE TABLE IF NOT EXISTS deleted_tasks (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    deleted_at timestamptz NOT NULL,
    CONSTRAINT deleted_tasks_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT deleted_tasks_user_id_fkey
        FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);

-- Serves the feed.
CREATE INDEX IF NOT EXISTS deleted_tasks_user_id_deleted_at_id_idx
    ON deleted_tasks (user_id, deleted_at, id);
-- Serves the purge.
CREATE INDEX IF NOT EXISTS deleted_tasks_deleted_at_idx ON deleted_tasks (deleted_at);

-- One row. A new epoch makes all tokens invalid that were issued before: after a restore, the
-- database doesn't know what it had shown.
CREATE TABLE IF NOT EXISTS feed_epoch (
    is_only_row boolean NOT NULL DEFAULT true,
    epoch uuid NOT NULL DEFAULT gen_random_uuid(),
    CONSTRAINT feed_epoch_pkey PRIMARY KEY (is_only_row),
    CONSTRAINT feed_epoch_is_only_row_check CHECK (is_only_row)
);
INSERT INTO feed_epoch DEFAULT VALUES ON CONFLICT DO NOTHING;

-- Lock a user's clock until the transaction ends, and return its time, which is the same for all of
-- the transaction unless it must be later than `after`.
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

REVOKE ALL ON FUNCTION advance_clock(uuid, timestamptz) FROM public;
GRANT EXECUTE ON FUNCTION advance_clock(uuid, timestamptz) TO taskapi_user;

GRANT SELECT, INSERT (user_id, at, advanced_by), UPDATE (at, advanced_by) ON clocks TO taskapi_user;
GRANT SELECT, INSERT, UPDATE (deleted_at) ON deleted_tasks TO taskapi_user;
GRANT SELECT ON feed_epoch TO taskapi_user;
-- The purge acts for no user, and sees nothing but what has expired.
GRANT SELECT (user_id, purged_at), UPDATE (purged_at) ON clocks TO taskapi_login;
GRANT SELECT, DELETE ON deleted_tasks TO taskapi_login;
GRANT SELECT, UPDATE (epoch) ON feed_epoch TO taskapi_login;

-- Not FORCE: who deletes a user as the tables' owner deletes the clock too.
ALTER TABLE clocks ENABLE ROW LEVEL SECURITY;
ALTER TABLE deleted_tasks ENABLE ROW LEVEL SECURITY;
ALTER TABLE deleted_tasks FORCE ROW LEVEL SECURITY;

DROP POLICY IF EXISTS clocks_of_user ON clocks;
CREATE POLICY clocks_of_user ON clocks TO taskapi_user
    USING (user_id = current_user_id())
    WITH CHECK (user_id = current_user_id());
DROP POLICY IF EXISTS clocks_of_purge ON clocks;
CREATE POLICY clocks_of_purge ON clocks TO taskapi_login USING (true);
DROP POLICY IF EXISTS deleted_tasks_of_user ON deleted_tasks;
CREATE POLICY deleted_tasks_of_user ON deleted_tasks TO taskapi_user
    USING (user_id = current_user_id())
    WITH CHECK (user_id = current_user_id());
DROP POLICY IF EXISTS expired_deleted_tasks ON deleted_tasks;
CREATE POLICY expired_deleted_tasks ON deleted_tasks TO taskapi_login
    USING (deleted_at < now() - interval '30 days');

-- updated_at grows with every change of a task, also within one transaction.
CREATE OR REPLACE FUNCTION tasks_set_updated_at() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := advance_clock(NEW.user_id, OLD.updated_at);
    RETURN NEW;
END;
$$;

-- An import keeps its created_at; else a new task's two times are equal.
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

CREATE OR REPLACE FUNCTION tasks_note_deletion() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO deleted_tasks (user_id, id, deleted_at)
    VALUES (OLD.user_id, OLD.id, advance_clock(OLD.user_id, OLD.updated_at))
    ON CONFLICT (user_id, id) DO UPDATE SET deleted_at = excluded.deleted_at;
    RETURN NULL;
END;
$$;

-- The key of a repeated request has the times of its task.
CREATE OR REPLACE FUNCTION idempotency_keys_set_created_at() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.created_at = now() THEN
        NEW.created_at := advance_clock(NEW.user_id);
    END IF;
    RETURN NEW;
END;
$$;

CREATE OR REPLACE FUNCTION users_delete_clock() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM clocks WHERE user_id = OLD.id;
    RETURN NULL;
END;
$$;

CREATE OR REPLACE TRIGGER users_delete_clock
    AFTER DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION users_delete_clock();

CREATE OR REPLACE TRIGGER idempotency_keys_set_created_at
    BEFORE INSERT ON idempotency_keys
    FOR EACH ROW EXECUTE FUNCTION idempotency_keys_set_created_at();

-- What a deleted user had is deleted by a foreign key's trigger or by the purge, and has no reader
-- left.
CREATE OR REPLACE TRIGGER tasks_note_deletion
    AFTER DELETE ON tasks
    FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND current_user <> 'taskapi_login')
    EXECUTE FUNCTION tasks_note_deletion();

-- A task whose key changes is gone for who knows the old one.
CREATE OR REPLACE TRIGGER tasks_note_new_key
    AFTER UPDATE OF user_id, id ON tasks
    FOR EACH ROW WHEN ((old.user_id, old.id) IS DISTINCT FROM (new.user_id, new.id))
    EXECUTE FUNCTION tasks_note_deletion();

CREATE OR REPLACE TRIGGER tasks_set_times
    BEFORE INSERT ON tasks
    FOR EACH ROW EXECUTE FUNCTION tasks_set_times();
