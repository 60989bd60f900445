-- Give up try_lock's lock for the session alone, and keep what share_lock took.
-- @return one row that nobody reads
SELECT pg_advisory_unlock(hashtext('taskapi.migrations'));
