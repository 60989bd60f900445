-- The values go with the column.
DO $$ BEGIN RAISE NOTICE 'nothing to undo'; END; $$;
