-- Note what a migration's file is, right before it is applied.
INSERT INTO _yoyo_checksum (migration_id, sha256)
VALUES (%(migration_id)s, %(sha256)s)
ON CONFLICT (migration_id) DO UPDATE SET sha256 = excluded.sha256;
