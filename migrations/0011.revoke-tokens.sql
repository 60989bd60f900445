-- transactional: false
-- Tokens can be revoked, and accounts closed.

-- A row: no token of this user that was issued before is valid. sql/act_as.sql asks for it in each
-- request. It can go when the tokens of that time have expired.
CREATE TABLE IF NOT EXISTS revocations (
    user_id uuid NOT NULL,
    tokens_not_before timestamptz NOT NULL,
    -- No foreign key: the row outlives a deleted user, whose tokens must not come back to life.
    CONSTRAINT revocations_pkey PRIMARY KEY (user_id)
);

-- When the owner closed the account. Its tasks and the row are deleted later, in batches (purge).
ALTER TABLE users ADD COLUMN IF NOT EXISTS closed_at timestamptz;

-- Serves the purge. Built without stopping writers; the build waits for older transactions.
SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS users_closed_at_idx;
-- It runs outside a transaction: the first line says so.
-- squawk-ignore ban-concurrent-index-creation-in-transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS users_closed_at_idx ON users (closed_at)
    WHERE closed_at IS NOT NULL;
RESET lock_timeout;

-- Whether a token of this user that was issued then is valid. It runs with its owner's rights,
-- because the role that the service logs in with may read no table. A null time counts as long ago.
CREATE OR REPLACE FUNCTION accepts_token(of_user uuid, issued_at timestamptz) RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN
    RETURN NOT EXISTS (
        SELECT FROM revocations
        WHERE user_id = of_user
            AND tokens_not_before > coalesce(issued_at, '-infinity')
    );
END;
$$;

CREATE OR REPLACE FUNCTION users_revoke_tokens() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO revocations (user_id, tokens_not_before) VALUES (OLD.id, 'infinity')
    ON CONFLICT (user_id) DO UPDATE SET tokens_not_before = 'infinity';
    RETURN NULL;
END;
$$;

-- What runs with its owner's rights finds its tables in this schema only.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'accepts_token(uuid, timestamptz)', 'users_revoke_tokens()', 'users_delete_clock()'
    ] LOOP
        EXECUTE format(
            'ALTER FUNCTION %s SECURITY DEFINER SET search_path = %I, pg_temp',
            name, current_schema()
        );
    END LOOP;
END;
$$;

-- Not FORCE: the functions above use the table as its owner.
ALTER TABLE revocations ENABLE ROW LEVEL SECURITY;

GRANT SELECT, INSERT, UPDATE (tokens_not_before) ON revocations TO taskapi_user;
GRANT SELECT, INSERT, UPDATE (tokens_not_before), DELETE ON revocations TO taskapi_login;
DROP POLICY IF EXISTS revocations_of_user ON revocations;
CREATE POLICY revocations_of_user ON revocations TO taskapi_user
    USING (user_id = current_user_id())
    WITH CHECK (user_id = current_user_id());
-- The user of the login's email, as row-level security shows users, and users who are deleted.
DROP POLICY IF EXISTS revocations_of_email ON revocations;
CREATE POLICY revocations_of_email ON revocations TO taskapi_login
    USING (EXISTS (SELECT FROM users WHERE users.id = revocations.user_id))
    WITH CHECK (EXISTS (SELECT FROM users WHERE users.id = revocations.user_id));
DROP POLICY IF EXISTS shown_revocations ON revocations;
CREATE POLICY shown_revocations ON revocations FOR SELECT TO taskapi_login USING (true);
DROP POLICY IF EXISTS old_revocations ON revocations;
CREATE POLICY old_revocations ON revocations FOR DELETE TO taskapi_login
    USING (tokens_not_before < now());

-- The account of the token's user.
GRANT SELECT (id, email, created_at) ON users TO taskapi_user;
DROP POLICY IF EXISTS users_of_token ON users;
CREATE POLICY users_of_token ON users FOR SELECT TO taskapi_user USING (id = current_user_id());

-- Closing gives the account another email. Closed accounts are the purge's, and only they.
GRANT SELECT (closed_at), UPDATE (email, closed_at), DELETE ON users TO taskapi_login;
DROP POLICY IF EXISTS users_to_close ON users;
CREATE POLICY users_to_close ON users FOR UPDATE TO taskapi_login
    USING (lower(email) = lower(current_setting('app.email', true)))
    WITH CHECK (closed_at IS NOT NULL);
DROP POLICY IF EXISTS closed_users ON users;
CREATE POLICY closed_users ON users TO taskapi_login
    USING (closed_at IS NOT NULL)
    WITH CHECK (closed_at IS NOT NULL);
DROP POLICY IF EXISTS only_closed_users ON users;
CREATE POLICY only_closed_users ON users AS RESTRICTIVE FOR DELETE TO taskapi_login
    USING (closed_at IS NOT NULL);
GRANT SELECT (user_id, id), DELETE ON tasks TO taskapi_login;
DROP POLICY IF EXISTS tasks_of_closed_users ON tasks;
CREATE POLICY tasks_of_closed_users ON tasks TO taskapi_login
    USING (EXISTS (
        SELECT FROM users WHERE users.id = tasks.user_id AND users.closed_at IS NOT NULL
    ));

CREATE OR REPLACE TRIGGER users_revoke_tokens
    AFTER DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION users_revoke_tokens();
