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
-- So that `migrate` can say which session of another role holds it up, and what that one runs.
GRANT pg_read_all_stats TO taskapi_owner;

-- The service's login has no rights on the tables: it becomes one of these in each transaction.
GRANT taskapi_user, taskapi_login TO taskapi;

-- A request's statements arrive together, and their transaction ends with them. One that stays open
-- is of a broken client, or of a person who forgot it: its locks hold up others, its snapshot keeps
-- vacuum from removing dead rows. A minute is less than a migration tries to get its locks for.
ALTER ROLE taskapi SET idle_in_transaction_session_timeout = '1min';
-- Titles, descriptions, emails and hashes are parameters. Without this they stand in the server's log
-- when it logs a statement, such as a slow one.
ALTER ROLE taskapi SET log_parameter_max_length = 0;
