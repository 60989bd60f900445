-- The migrations that yoyo has marked as applied, for /ready.
SELECT migration_id
FROM _yoyo_migration
ORDER BY migration_id;
