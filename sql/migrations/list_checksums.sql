-- The checksum of each migration's file as it was when it was applied.
SELECT migration_id, sha256
FROM _yoyo_checksum
ORDER BY migration_id;
