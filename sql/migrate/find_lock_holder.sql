-- Find the first session of the process that has try_lock's lock. pg_locks shows hashtext's 32
-- bits, sign-extended, in classid and objid.
-- @return pid, role_name; application_name, client_addr, backend_start: null without the right
SELECT
    pg_stat_activity.pid,
    pg_stat_activity.usename AS role_name,
    pg_stat_activity.application_name,
    pg_stat_activity.client_addr,
    pg_stat_activity.backend_start
FROM pg_locks
INNER JOIN pg_stat_activity ON pg_locks.pid = pg_stat_activity.pid
WHERE pg_locks.locktype = 'advisory'
    AND pg_locks.granted
    AND pg_locks.database = (
        SELECT pg_database.oid
        FROM pg_database
        WHERE pg_database.datname = current_database()
    )
    AND pg_locks.objsubid = 1
    AND (pg_locks.classid::bigint << 32) | pg_locks.objid::bigint
    = hashtext('taskapi.migrations')::bigint
ORDER BY pg_stat_activity.backend_start
LIMIT 1;
