-- Share the lock of try_lock until the session ends. Each session of the process that has the lock
-- does so: if the process is killed, its last statement keeps the lock for as long as it runs.
-- @return one row that nobody reads
SELECT pg_advisory_lock_shared(hashtext('taskapi.migrations'));
