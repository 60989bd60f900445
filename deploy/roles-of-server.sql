-- Roles that give the service fewer rights than its migrations. Roles belong to the server, so a
-- superuser runs this once for each server, connected to any database. It can be run again at any
-- time. Then roles-of-database.sql gives them their rights in the service's database. Give both logins
-- a password, or a line in pg_hba.conf, as your site does.
--
--     taskapi_owner   owns the database and everything in it; for `migrate` and pg_dump
--     taskapi         the service's login; may become the two roles below, and nothing else
--     taskapi_user    a user's request: row-level security shows it that user's rows
--     taskapi_login   a sign-up or login: row-level security shows it the account of one email

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

-- Dumps, and migrations that fill a column, need all rows and must not change updated_at.
ALTER ROLE taskapi_owner BYPASSRLS;
GRANT SET ON PARAMETER session_replication_role TO taskapi_owner;

-- The service's login has no rights on the tables: it becomes one of these in each transaction.
GRANT taskapi_user, taskapi_login TO taskapi;
