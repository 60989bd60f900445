-- The database itself keeps users apart. A request of a user runs as role taskapi_user and says
-- whose rows it is for in app.user_id; sign-up and login run as role taskapi_login and say which
-- address they are for in app.email. Both are set for one transaction (sql/act_as.sql), and the
-- policies let nothing else through, whatever a statement asks for.
--
-- To the tables' owner, and to every other role that is neither a superuser nor has BYPASSRLS, both
-- tables now look empty. Who types by hand, fills columns in a migration, or dumps (pg_dump stops
-- with an error instead of leaving rows out) needs a role that has BYPASSRLS; who looks after one
-- user sets the role and app.user_id as sql/act_as.sql does. What a foreign key checks or deletes
-- goes by no policy.
--
-- The roles belong to the whole server: other databases may use the same ones, and a DBA may have
-- made them before, NOLOGIN, for a migrating role that may not.

DO $$
DECLARE
    name text;
    attributes record;
BEGIN
    FOREACH name IN ARRAY ARRAY['taskapi_user', 'taskapi_login'] LOOP
        IF to_regrole(name) IS NULL THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', name);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN
                    NULL; -- The migration of another database was first
                WHEN insufficient_privilege THEN
                    RAISE EXCEPTION 'role % may not create role %: '
                        'grant it CREATEROLE, or have a superuser run CREATE ROLE % NOLOGIN',
                        current_user, name, name
                        USING ERRCODE = 'insufficient_privilege';
            END;
        END IF;

        SELECT rolsuper OR rolbypassrls AS is_exempt, rolcanlogin AS may_log_in
        INTO attributes
        FROM pg_roles
        WHERE rolname = name;
        IF attributes.is_exempt OR attributes.may_log_in THEN
            RAISE EXCEPTION 'role % must have none of SUPERUSER, BYPASSRLS and LOGIN: alter it',
                name
                USING ERRCODE = 'invalid_role_specification';
        END IF;
    END LOOP;
END;
$$;

-- The role that migrates may act as both, for the service often logs in with it. One that logs in
-- with another role needs the same grants for that: a role that may not grant leaves it to the DBA.
DO $$
DECLARE
    name text;
    has_options CONSTANT boolean := current_setting('server_version_num')::integer >= 160000;
BEGIN
    FOREACH name IN ARRAY ARRAY['taskapi_user', 'taskapi_login'] LOOP
        IF NOT has_schema_privilege(name, current_schema(), 'USAGE') THEN
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), name);
        END IF;

        -- From PostgreSQL 16 on a membership may lack the right to SET ROLE, as its maker's does
        IF NOT pg_has_role(current_user, name, CASE WHEN has_options THEN 'SET' ELSE 'MEMBER' END)
        THEN
            BEGIN
                -- Without INHERIT only a transaction that takes the role has its rights
                EXECUTE format('GRANT %I TO %I', name, current_user)
                    || CASE WHEN has_options THEN ' WITH SET TRUE, INHERIT FALSE' ELSE '' END;
            EXCEPTION
                WHEN unique_violation THEN
                    NULL; -- The migration of another database granted the same
                WHEN insufficient_privilege THEN
                    RAISE WARNING 'role % may not act as %: have it granted', current_user, name;
            END;
        END IF;
    END LOOP;
END;
$$;

-- An identity that is missing or no UUID is NULL, which equals nothing.
CREATE OR REPLACE FUNCTION current_user_id() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE
        WHEN current_setting('app.user_id', true)
            ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'
            THEN current_setting('app.user_id', true)::uuid
    END;

REVOKE ALL ON FUNCTION current_user_id() FROM public;
GRANT EXECUTE ON FUNCTION current_user_id() TO taskapi_user;

-- A user's requests touch tasks only, and neither move a task to another user nor set what the
-- database makes. Sign-up writes an account and login reads it: no change, no deletion, no tasks.
GRANT SELECT, DELETE ON tasks TO taskapi_user;
GRANT INSERT (user_id, title, description, completed) ON tasks TO taskapi_user;
GRANT UPDATE (title, description, completed) ON tasks TO taskapi_user;
GRANT SELECT (id, email, password_hash) ON users TO taskapi_login;
GRANT INSERT (email, password_hash) ON users TO taskapi_login;

ALTER TABLE users ENABLE ROW LEVEL SECURITY;
ALTER TABLE users FORCE ROW LEVEL SECURITY;
ALTER TABLE tasks ENABLE ROW LEVEL SECURITY;
ALTER TABLE tasks FORCE ROW LEVEL SECURITY;

-- The account of one address, so that not even a statement without a WHERE lists the accounts.
DROP POLICY IF EXISTS users_of_email ON users;
CREATE POLICY users_of_email ON users TO taskapi_login
    USING (lower(email) = lower(current_setting('app.email', true)))
    WITH CHECK (lower(email) = lower(current_setting('app.email', true)));

DROP POLICY IF EXISTS tasks_of_user ON tasks;
CREATE POLICY tasks_of_user ON tasks TO taskapi_user
    USING (user_id = current_user_id())
    WITH CHECK (user_id = current_user_id());
