-- transactional: false
-- Tokens can be revoked, and accounts closed. Each statement is a
-- transaction of its own: one that locked two tables could deadlock with a request.

-- A row: no token of this user that was issued before is valid. sql/act_as.sql asks for it in each
-- request. It can go when the tokens of that time have expired.
CREATE TABLE IF NOT EXISTS revocations (
    user_id uuid NOT NULL,
    tokens_not_before timestamptz NOT NULL,
    -- No foreign key: the row outlives a deleted user, whose tokens must not come back to life.
    CONSTRAINT revocations_pkey PRIMARY KEY (user_id)
);

-- Accounts that their owner has closed. The purge deletes their tasks in batches, then the users.
CREATE TABLE IF NOT EXISTS closed_accounts (
    user_id uuid NOT NULL,
    closed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT closed_accounts_pkey PRIMARY KEY (user_id),
    CONSTRAINT closed_accounts_user_id_fkey
        FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);

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
CREATE POLICY revocations_of_email ON revocations FOR INSERT TO taskapi_login
    WITH CHECK (EXISTS (
        SELECT FROM users
        WHERE users.id = revocations.user_id
    ));
DROP POLICY IF EXISTS later_revocations ON revocations;
CREATE POLICY later_revocations ON revocations FOR UPDATE TO taskapi_login
    USING (EXISTS (
        SELECT FROM users
        WHERE users.id = revocations.user_id
    ));
DROP POLICY IF EXISTS shown_revocations ON revocations;
CREATE POLICY shown_revocations ON revocations FOR SELECT TO taskapi_login USING (true);
DROP POLICY IF EXISTS old_revocations ON revocations;
CREATE POLICY old_revocations ON revocations FOR DELETE TO taskapi_login
    USING (tokens_not_before < now());

-- The account of the token's user.
GRANT SELECT (id, email, created_at) ON users TO taskapi_user;
DROP POLICY IF EXISTS users_of_token ON users;
CREATE POLICY users_of_token ON users FOR SELECT TO taskapi_user USING (id = current_user_id());

-- Closing gives the account an email that nobody can have (RFC 2606). The purge acts for it by that
-- email, and deletes nothing but closed accounts and their tasks.
GRANT UPDATE (email), DELETE ON users TO taskapi_login;
GRANT SELECT, INSERT (user_id) ON closed_accounts TO taskapi_login;
GRANT SELECT (user_id, id), DELETE ON tasks TO taskapi_login;
ALTER TABLE closed_accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE closed_accounts FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS users_to_close ON users;
CREATE POLICY users_to_close ON users FOR UPDATE TO taskapi_login
    USING (lower(email) = lower(current_setting('app.email', true)))
    WITH CHECK (email = id || '@closed.invalid');
DROP POLICY IF EXISTS users_of_closed_email ON users;
CREATE POLICY users_of_closed_email ON users FOR SELECT TO taskapi_login
    USING (lower(email) = lower(current_setting('app.closed_email', true)));
DROP POLICY IF EXISTS only_closed_users ON users;
CREATE POLICY only_closed_users ON users AS RESTRICTIVE FOR DELETE TO taskapi_login
    USING (EXISTS (
        SELECT FROM closed_accounts
        WHERE closed_accounts.user_id = users.id
    ));
DROP POLICY IF EXISTS shown_closed_accounts ON closed_accounts;
CREATE POLICY shown_closed_accounts ON closed_accounts FOR SELECT TO taskapi_login USING (true);
DROP POLICY IF EXISTS closed_accounts_of_email ON closed_accounts;
CREATE POLICY closed_accounts_of_email ON closed_accounts FOR INSERT TO taskapi_login
    WITH CHECK (EXISTS (
        SELECT FROM users
        WHERE users.id = closed_accounts.user_id
    ));
DROP POLICY IF EXISTS tasks_of_closed_accounts ON tasks;
CREATE POLICY tasks_of_closed_accounts ON tasks TO taskapi_login
    USING (EXISTS (
        SELECT FROM closed_accounts
        WHERE closed_accounts.user_id = tasks.user_id
    ));

CREATE OR REPLACE TRIGGER users_revoke_tokens
    AFTER DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION users_revoke_tokens();
