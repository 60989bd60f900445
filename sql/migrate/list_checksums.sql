-- List the checksum of each migration's file at the time it was applied.
-- @return migration_id, sha256
SELECT migration_id, sha256
FROM _yoyo_checksum
ORDER BY migration_id;
