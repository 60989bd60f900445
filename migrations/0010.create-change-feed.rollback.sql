DROP TRIGGER IF EXISTS tasks_set_times ON tasks;
DROP TRIGGER IF EXISTS tasks_note_deletion ON tasks;
DROP TRIGGER IF EXISTS tasks_note_new_key ON tasks;
DROP TRIGGER IF EXISTS idempotency_keys_set_created_at ON idempotency_keys;
DROP TRIGGER IF EXISTS users_delete_clock ON users;
CREATE OR REPLACE FUNCTION tasks_set_updated_at() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := greatest(now(), OLD.updated_at + interval '1 microsecond');
    RETURN NEW;
END;
$$;
DROP FUNCTION IF EXISTS tasks_set_times();
DROP FUNCTION IF EXISTS tasks_note_deletion();
DROP FUNCTION IF EXISTS idempotency_keys_set_created_at();
DROP FUNCTION IF EXISTS users_delete_clock();
DROP FUNCTION IF EXISTS advance_clock(uuid, timestamptz);
DROP TABLE IF EXISTS feed_epoch;
DROP TABLE IF EXISTS deleted_tasks;
DROP TABLE IF EXISTS clocks;
