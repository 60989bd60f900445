-- updated_at grows with every change of a task: also with two in one microsecond or in one
-- transaction, and where the clock has stepped back. It is the version that ETags show, which a
-- client must never see twice for different content. Unlike a counter it doesn't repeat after a
-- failover to a standby that lacks the last changes, or after a restore.
CREATE OR REPLACE FUNCTION tasks_set_updated_at() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := greatest(now(), OLD.updated_at + interval '1 microsecond');
    RETURN NEW;
END;
$$;
