-- transactional: false
-- The identity of a transaction is signed, so that SQL that runs with the service's login can't
-- take another one: neither by set_config nor by SET ROLE. The service signs the role, the user or
-- email and a time of expiry with HMAC-SHA256. The policies check the signature with keys that only
-- the tables' owner can read.
--
-- The release before signs nothing. So unsigned identities are accepted until an operator runs
-- `python -m taskapi migrate apply --require-signatures`; in a new database they never are. Each
-- statement is a transaction of its own: one that locked two tables could deadlock with a request.

-- An HMAC key of 32 bytes as its two blocks: XORed with 0x36 and with 0x5c, and filled up to 64.
CREATE TABLE IF NOT EXISTS identity_keys (
    inner_pad bytea NOT NULL,
    outer_pad bytea NOT NULL,
    is_required boolean NOT NULL DEFAULT false,
    added_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT identity_keys_pkey PRIMARY KEY (inner_pad),
    CONSTRAINT identity_keys_check
        CHECK (octet_length(inner_pad) = 64 AND octet_length(outer_pad) = 64)
);
COMMENT ON TABLE identity_keys IS
    'The keys that identities may be signed with (sql/act_as.sql). Only the owner may read it. '
    'python -m taskapi migrate apply adds those of DB_IDENTITY_KEY, or of JWT_SECRET; '
    'with --require-signatures it deletes all others.';
COMMENT ON COLUMN identity_keys.inner_pad IS
    'A key of HMAC-SHA256 as its first block: with 0x36 in each byte''s XOR.';
COMMENT ON COLUMN identity_keys.outer_pad IS 'The same key with 0x5c.';
COMMENT ON COLUMN identity_keys.is_required IS
    'If true in any row, identities that are not signed, as those of releases before 1.1, are '
    'refused. python -m taskapi migrate apply --require-signatures sets it.';
COMMENT ON COLUMN identity_keys.added_at IS 'When it was added, by the database''s clock.';

-- True, or an error: so that a service with another key than the database notices, and does not
-- find nothing. A signature ends by the clock and not by the transaction's start, which SQL can put
-- off by keeping one open. Everyone may call it: the service's login can have any name.
CREATE OR REPLACE FUNCTION is_signed(
    acting_role text, subject text, expires_at text, signature text
) RETURNS boolean
    LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER AS $$
DECLARE
    message CONSTANT bytea := convert_to(
        acting_role || E'\n' || expires_at || E'\n' || subject, 'UTF8'
    );
    given CONSTANT bytea := decode(signature, 'hex');
BEGIN
    PERFORM inner_pad FROM identity_keys
    WHERE sha256(outer_pad || sha256(inner_pad || message)) = given;
    IF FOUND THEN
        IF clock_timestamp() < to_timestamp(expires_at::double precision) THEN
            RETURN true;
        END IF;
        RAISE EXCEPTION 'by the clock of the database, the signature of the identity has expired'
            USING ERRCODE = 'invalid_authorization_specification';
    END IF;
    -- The keys that forbid it
    PERFORM inner_pad FROM identity_keys
    WHERE is_required OR signature <> '';
    IF FOUND THEN
        RAISE EXCEPTION 'the identity is not signed with a key of the table identity_keys'
            USING ERRCODE = 'invalid_authorization_specification';
    END IF;
    RETURN true;
END;
$$;
COMMENT ON FUNCTION is_signed(text, text, text, text) IS
    'True if this role and user or email are signed, else an error (28000). True without a '
    'signature while no key of identity_keys is required, and with any while there is no key. Runs '
    'with its owner''s rights, because nobody else may read the keys.';

-- It finds its tables in this schema only.
DO $$
BEGIN
    EXECUTE format(
        'ALTER FUNCTION is_signed(text, text, text, text) SET search_path = %I, pg_temp',
        current_schema()
    );
END;
$$;

-- NULL, which equals nothing, if there is no identity. What is signed is a UUID.
CREATE OR REPLACE FUNCTION current_user_id() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE
        WHEN current_setting('app.user_id', true) <> ''
            THEN CASE
                WHEN is_signed(
                    'taskapi_user',
                    current_setting('app.user_id', true),
                    current_setting('app.expires_at', true),
                    current_setting('app.signature', true)
                )
                    THEN current_setting('app.user_id', true)::uuid
            END
    END;
COMMENT ON FUNCTION current_user_id() IS
    'The user that this transaction acts for: the UUID in the setting app.user_id, which '
    'sql/act_as.sql sets with its signature. Null, which equals no row, if it is missing; an error '
    'if it is not signed. The policies compare user_id with it.';

CREATE OR REPLACE FUNCTION current_email() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE
        WHEN is_signed(
            'taskapi_login',
            coalesce(current_setting('app.email', true), ''),
            current_setting('app.expires_at', true),
            current_setting('app.signature', true)
        )
            THEN coalesce(current_setting('app.email', true), '')
    END;
REVOKE ALL ON FUNCTION current_email() FROM public;
GRANT EXECUTE ON FUNCTION current_email() TO taskapi_login;
COMMENT ON FUNCTION current_email() IS
    'The email that this transaction of taskapi_login acts for: the setting app.email, which '
    'sql/act_as.sql sets with its signature; empty for the purge. An error if it is not signed.';

ALTER POLICY users_of_email ON users
    USING (lower(email) = lower(current_email()))
    WITH CHECK (lower(email) = lower(current_email()));
ALTER POLICY users_to_close ON users
    USING (lower(email) = lower(current_email()))
    WITH CHECK (email = id || '@closed.invalid');
ALTER POLICY users_of_closed_email ON users
    USING (lower(email) = lower(CASE
        WHEN current_email() <> ''
            THEN current_setting('app.user_id', true) || '@closed.invalid'
    END));

-- The policies of these two allow what the grants did.
DROP POLICY IF EXISTS login_attempts_of_login ON login_attempts;
CREATE POLICY login_attempts_of_login ON login_attempts TO taskapi_login USING (true);
ALTER TABLE login_attempts ENABLE ROW LEVEL SECURITY;
ALTER TABLE login_attempts FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS shown_epoch ON feed_epoch;
CREATE POLICY shown_epoch ON feed_epoch FOR SELECT TO taskapi_user USING (true);
DROP POLICY IF EXISTS epoch_of_login ON feed_epoch;
CREATE POLICY epoch_of_login ON feed_epoch TO taskapi_login USING (true);
ALTER TABLE feed_epoch ENABLE ROW LEVEL SECURITY;
ALTER TABLE feed_epoch FORCE ROW LEVEL SECURITY;
COMMENT ON POLICY login_attempts_of_login ON login_attempts IS 'Logins and sign-ups are counted.';
COMMENT ON POLICY shown_epoch ON feed_epoch IS 'The change feed reads the epoch.';
COMMENT ON POLICY epoch_of_login ON feed_epoch IS 'An operator resets the feeds.';
COMMENT ON TABLE login_attempts IS
    'Counters of logins and sign-ups within the last minute, shared by all workers and machines. '
    'Unlogged: empty after a crash, and may be truncated at any time. Logins delete rows that have '
    'expired. Row-level security is forced.';

-- Whoever becomes taskapi_login needs a signature for it, in every table. The policies of users ask
-- for it themselves: PostgreSQL applies a restrictive policy first, and would use the index of the
-- emails no more, because lower() is not leakproof. A subquery is asked once, not for each row.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'login_attempts', 'tasks', 'idempotency_keys', 'clocks', 'deleted_tasks',
        'revocations', 'closed_accounts', 'feed_epoch'
    ] LOOP
        IF NOT EXISTS (
            SELECT FROM pg_policy
            WHERE polname = 'only_signed_logins' AND polrelid = name::regclass
        ) THEN
            EXECUTE format(
                'CREATE POLICY only_signed_logins ON %I AS RESTRICTIVE TO taskapi_login'
                ' USING ((SELECT current_email()) IS NOT NULL)', name
            );
        END IF;
        EXECUTE format(
            'COMMENT ON POLICY only_signed_logins ON %I IS %L', name,
            'Restrictive: taskapi_login sees and writes nothing without a signed identity.'
        );
        COMMIT;
    END LOOP;
END;
$$;
