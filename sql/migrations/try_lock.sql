-- Take the lock under which one process migrates, until the session ends; false if another has it.
-- Asked again and again, for a session that waited inside pg_advisory_lock would hold a snapshot,
-- and CREATE INDEX CONCURRENTLY in the process that has the lock would wait for that one.
SELECT pg_try_advisory_lock(hashtext('taskapi.migrations')) AS has_lock;
