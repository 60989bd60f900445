-- Roles for a service that may do less than what migrates its database. For a superuser, connected
-- to the service's database: once before the first `migrate apply`, and once after it. May be run
-- again at any time. Give both logins a password, or a line in pg_hba.conf, as your site does.
--
--     taskapi_owner   owns the database and what is in it; DATABASE_URL of `migrate`, and of pg_dump
--     taskapi         what the service logs in with; may become the two below, and nothing else
--     taskapi_user    a user's request, which row-level security shows that user's tasks
--     taskapi_login   a sign-up or login, which it shows the account of one address

DO $$
BEGIN
    IF to_regrole('taskapi_owner') IS NULL THEN
        CREATE ROLE taskapi_owner LOGIN;
    END IF;
    IF to_regrole('taskapi') IS NULL THEN
        CREATE ROLE taskapi LOGIN NOINHERIT;
    END IF;
    IF to_regrole('taskapi_user') IS NULL THEN
        CREATE ROLE taskapi_user NOLOGIN;
    END IF;
    IF to_regrole('taskapi_login') IS NULL THEN
        CREATE ROLE taskapi_login NOLOGIN;
    END IF;
END;
$$;

-- Dumps and migrations that fill a column need all rows, and must not set updated_at.
ALTER ROLE taskapi_owner BYPASSRLS;
GRANT SET ON PARAMETER session_replication_role TO taskapi_owner;

-- The service itself has no right on the tables: it becomes one of these for each transaction.
GRANT taskapi_user, taskapi_login TO taskapi;

DO $$
BEGIN
    EXECUTE format('ALTER DATABASE %I OWNER TO taskapi_owner', current_database());
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM public', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO taskapi', current_database());
    REVOKE CREATE ON SCHEMA public FROM public;

    -- For /ready. yoyo makes the table with the first migration.
    IF to_regclass('_yoyo_migration') IS NOT NULL THEN
        GRANT SELECT ON _yoyo_migration TO taskapi;
    END IF;
END;
$$;
