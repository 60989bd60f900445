-- What a migration needs of the database and of the role that applies it.
-- @return role_name, schema_name, may_create, is_utf8, is_standby
SELECT
    current_user AS role_name,
    current_schema() AS schema_name,
    coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create,
    current_setting('server_encoding') = 'UTF8' AS is_utf8,
    pg_is_in_recovery() AS is_standby;
