DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'login_attempts', 'tasks', 'idempotency_keys', 'clocks', 'deleted_tasks',
        'revocations', 'closed_accounts', 'feed_epoch'
    ] LOOP
        EXECUTE format('DROP POLICY IF EXISTS only_signed_logins ON %I', name);
        COMMIT;
    END LOOP;
END;
$$;
ALTER TABLE login_attempts NO FORCE ROW LEVEL SECURITY;
ALTER TABLE login_attempts DISABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS login_attempts_of_login ON login_attempts;
ALTER TABLE feed_epoch NO FORCE ROW LEVEL SECURITY;
ALTER TABLE feed_epoch DISABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS epoch_of_login ON feed_epoch;
DROP POLICY IF EXISTS shown_epoch ON feed_epoch;
COMMENT ON TABLE login_attempts IS
    'Counters of logins and sign-ups within the last minute, shared by all workers and machines. '
    'Unlogged: empty after a crash, and may be truncated at any time. Logins delete rows that have '
    'expired. No row-level security: it has no user''s data.';
ALTER POLICY users_of_closed_email ON users
    USING (lower(email) = lower(current_setting('app.user_id', true) || '@closed.invalid'));
ALTER POLICY users_to_close ON users
    USING (lower(email) = lower(current_setting('app.email', true)))
    WITH CHECK (email = id || '@closed.invalid');
ALTER POLICY users_of_email ON users
    USING (lower(email) = lower(current_setting('app.email', true)))
    WITH CHECK (lower(email) = lower(current_setting('app.email', true)));
DROP FUNCTION IF EXISTS current_email();
CREATE OR REPLACE FUNCTION current_user_id() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE
        WHEN current_setting('app.user_id', true)
            ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'
            THEN current_setting('app.user_id', true)::uuid
    END;
COMMENT ON FUNCTION current_user_id() IS
    'The user that this transaction acts for: the UUID in the setting app.user_id, which '
    'sql/act_as.sql sets. Null, which equals no row, if it is missing or not a UUID. The policies '
    'compare user_id with it.';
DROP FUNCTION IF EXISTS is_signed(text, text, text, text);
DROP TABLE IF EXISTS identity_keys;
