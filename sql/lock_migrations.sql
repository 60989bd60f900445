-- Wait until no other process applies or rolls back migrations; held until the session ends.
SELECT pg_advisory_lock(hashtext('taskapi.migrations'));
