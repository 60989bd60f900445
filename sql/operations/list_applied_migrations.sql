-- List the migrations that yoyo has marked as applied, for /ready.
-- @return migration_id
SELECT migration_id
FROM _yoyo_migration
ORDER BY migration_id;
