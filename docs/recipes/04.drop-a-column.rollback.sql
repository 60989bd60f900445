-- Empty: the values are gone.
ALTER TABLE tasks ADD COLUMN IF NOT EXISTS list_id uuid;
