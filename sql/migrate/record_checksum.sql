-- Record the checksum of a migration's file, before it is applied.
-- @param migration_id text
-- @param sha256 text
INSERT INTO _yoyo_checksum (migration_id, sha256)
VALUES (%(migration_id)s, %(sha256)s)
ON CONFLICT (migration_id) DO UPDATE SET sha256 = excluded.sha256;
