-- Distributes the tables over the servers of a Citus cluster: all rows of a user are on one server,
-- in shards that Citus moves together. A superuser runs this once in the service's database on the
-- coordinator, after the migrations and roles-of-database.sql, while the service is stopped:
--
--     psql --single-transaction -v ON_ERROR_STOP=1 -d taskapi -f deploy/citus/distribute.sql
--
-- The database has the extension and its nodes already (docs/scaling.md). Nothing here is
-- PostgreSQL's own way of doing it: what plain PostgreSQL does better is in the migrations, and is
-- changed here for what Citus can't do. There is no way back but a dump and restore.

DO $$
BEGIN
    IF to_regclass('pg_dist_node') IS NULL OR NOT EXISTS (
        SELECT FROM pg_dist_node WHERE groupid > 0
    ) THEN
        RAISE EXCEPTION 'database % has no nodes: CREATE EXTENSION citus, then citus_add_node()',
            current_database();
    END IF;
    IF to_regprocedure('share_settings()') IS NOT NULL THEN
        RAISE EXCEPTION 'database % is distributed already', current_database();
    END IF;
END;
$$;

-- Citus warns of triggers because they run on one shard of one server. Ours touch rows of the same
-- user only, which are in the shards beside it.
SET LOCAL citus.enable_unsafe_triggers = on;
-- Tables with foreign keys between them are distributed over one connection to each server.
SET LOCAL citus.multi_shard_modify_mode = 'sequential';

-- 1. Row-level security -------------------------------------------------------------------------
-- Every policy holds on every server. For the tables' owner it is not forced any more: Citus moves
-- shards as the owner, who would see none of their rows.

ALTER TABLE users NO FORCE ROW LEVEL SECURITY;
ALTER TABLE tasks NO FORCE ROW LEVEL SECURITY;
ALTER TABLE deleted_tasks NO FORCE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys NO FORCE ROW LEVEL SECURITY;
ALTER TABLE closed_accounts NO FORCE ROW LEVEL SECURITY;
ALTER TABLE feed_epoch NO FORCE ROW LEVEL SECURITY;

-- A policy of a distributed table has no subquery. These had one, to see whether the account is
-- closed or the login's: now its email says so, which at closed.invalid nobody can have. Those of
-- only_signed_logins asked once, and ask for each row now.
DROP POLICY tasks_of_closed_accounts ON tasks;
CREATE POLICY tasks_of_closed_accounts ON tasks TO taskapi_login
    USING (user_id || '@closed.invalid' = current_setting('app.email', true));
DROP POLICY only_closed_users ON users;
CREATE POLICY only_closed_users ON users AS RESTRICTIVE FOR DELETE TO taskapi_login
    USING (email = id || '@closed.invalid');
DROP POLICY closed_accounts_of_email ON closed_accounts;
CREATE POLICY closed_accounts_of_email ON closed_accounts FOR INSERT TO taskapi_login
    WITH CHECK (true);
DROP POLICY revocations_of_email ON revocations;
CREATE POLICY revocations_of_email ON revocations FOR INSERT TO taskapi_login WITH CHECK (true);
DROP POLICY later_revocations ON revocations;
CREATE POLICY later_revocations ON revocations FOR UPDATE TO taskapi_login USING (true);
ALTER POLICY only_signed_logins ON tasks USING (current_email() IS NOT NULL);
ALTER POLICY only_signed_logins ON clocks USING (current_email() IS NOT NULL);
ALTER POLICY only_signed_logins ON deleted_tasks USING (current_email() IS NOT NULL);
ALTER POLICY only_signed_logins ON idempotency_keys USING (current_email() IS NOT NULL);
ALTER POLICY only_signed_logins ON closed_accounts USING (current_email() IS NOT NULL);
ALTER POLICY only_signed_logins ON feed_epoch USING (current_email() IS NOT NULL);

-- 2. Triggers and defaults ----------------------------------------------------------------------
-- The coordinator fills in defaults, by its own clock. A task's times are its server's, by the
-- triggers tasks_set_times and idempotency_keys_set_created_at.

ALTER TABLE tasks ALTER COLUMN created_at DROP DEFAULT, ALTER COLUMN updated_at DROP DEFAULT;
ALTER TABLE idempotency_keys ALTER COLUMN created_at DROP DEFAULT;

-- users is on every server, and so are its triggers: one that deletes the clock would have to reach
-- another server. A foreign key does it instead, below.
DROP TRIGGER users_delete_clock ON users;

-- 3. Where the rows are -------------------------------------------------------------------------
-- On every server: what is small, and joined or referenced. On the coordinator only, as they are:
-- revocations and login_attempts, which are read and counted before any user's rows.

SELECT create_reference_table('users');
SELECT create_reference_table('closed_accounts');
SELECT create_reference_table('feed_epoch');
SELECT create_reference_table('identity_keys');
SELECT create_distributed_table('tasks', 'user_id');
SELECT create_distributed_table('clocks', 'user_id', colocate_with => 'tasks');
SELECT create_distributed_table('deleted_tasks', 'user_id', colocate_with => 'tasks');
SELECT create_distributed_table('idempotency_keys', 'user_id', colocate_with => 'tasks');

ALTER TABLE clocks ADD CONSTRAINT clocks_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE;

-- 4. Functions ----------------------------------------------------------------------------------
-- Those of policies and triggers run on the server of the user's rows.

SELECT create_distributed_function('is_signed(text, text, text, text)');
SELECT create_distributed_function('current_user_id()');
SELECT create_distributed_function('current_email()');
SELECT create_distributed_function('advance_clock(uuid, timestamptz)');

-- set_config() reaches no other server, SET LOCAL in a transaction block does. The service runs this
-- between sql/act_as.sql and each statement; if it did not, row-level security would show nothing.
CREATE FUNCTION share_settings() RETURNS void
    LANGUAGE plpgsql
    SET citus.propagate_set_commands = 'local'
    AS $$
DECLARE
    name text;
    value text;
BEGIN
    -- advance_clock() and is_signed() use tables where a statement calls them: those of its own user,
    -- and identity_keys, which are on the same server.
    SET LOCAL citus.allow_nested_distributed_execution = on;
    FOREACH name IN ARRAY ARRAY[
        'app.user_id', 'app.email', 'app.expires_at', 'app.signature', 'app.max_tasks', 'TimeZone',
        'DateStyle'
    ] LOOP
        value := current_setting(name, true);
        IF value <> '' THEN
            EXECUTE format('SET LOCAL %s = %L', name, value);
        END IF;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION share_settings() IS
    'Tells the servers of a distributed database the settings of sql/act_as.sql. That it exists '
    'tells the service that the database is distributed.';

-- 5. Rights -------------------------------------------------------------------------------------
-- The coordinator connects to the other servers as the role that it acts as, and writes every
-- column that has a default. Let pg_hba.conf admit these roles from the cluster's servers only.
-- Migration 0003 refuses roles that can log in: to migrate another database of this server, take
-- LOGIN away meanwhile.

ALTER ROLE taskapi_user LOGIN;
ALTER ROLE taskapi_login LOGIN;
DO $$
BEGIN
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO taskapi_user, taskapi_login', current_database());
END;
$$;
-- Of a table that is on every server, Citus lets nobody lock a row who may not delete one. There is
-- no policy by which this role could.
GRANT DELETE ON users TO taskapi_user;
GRANT INSERT (purged_at, tasks) ON clocks TO taskapi_user;
GRANT INSERT (created_at) ON users TO taskapi_user;
GRANT INSERT (id, created_at) ON users TO taskapi_login;
GRANT INSERT (closed_at) ON closed_accounts TO taskapi_login;
