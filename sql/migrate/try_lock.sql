-- Take the lock that one process migrates under, until the session ends: for itself alone, which no
-- session of another process allows. The caller repeats this: a session that waits inside
-- pg_advisory_lock holds a snapshot, and CREATE INDEX CONCURRENTLY in the process that has the lock
-- would wait for it.
-- @return has_lock: false if another process has it
SELECT pg_try_advisory_lock(hashtext('taskapi.migrations')) AS has_lock;
