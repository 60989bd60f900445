-- Gives the roles of roles-of-server.sql their rights in the service's database, and takes everyone
-- else's. A superuser runs this, connected to that database: after the first `migrate apply`, and
-- again after a restore, because a dump has neither the database's owner nor its privileges. It can
-- be run again at any time. It is one statement, which is done as a whole or not at all.

DO $$
BEGIN
    IF current_database() IN ('postgres', 'template0', 'template1') THEN
        RAISE EXCEPTION 'this is database %, not the service''s: name that one, as in psql -d taskapi',
            current_database();
    END IF;
    IF to_regrole('taskapi') IS NULL OR to_regrole('taskapi_owner') IS NULL THEN
        RAISE EXCEPTION 'the server has no roles for the service: run roles-of-server.sql first';
    END IF;

    EXECUTE format('ALTER DATABASE %I OWNER TO taskapi_owner', current_database());
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM public', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO taskapi', current_database());
    REVOKE CREATE ON SCHEMA public FROM public;

    -- For /ready. The first migration creates the table.
    IF to_regclass('_yoyo_migration') IS NOT NULL THEN
        GRANT SELECT ON _yoyo_migration TO taskapi;
    END IF;
END;
$$;
