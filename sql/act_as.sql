-- Set the role, the signed identity that row-level security checks, and the settings that the next
-- statement relies on. All of it ends with the transaction: a pooled connection keeps nothing. With
-- a token that was revoked there is no identity, and the next statement finds and writes nothing.
-- With a signature that is missing or not valid it fails.
-- @param role text: taskapi_user, taskapi_login, or none for the role of the connection
-- @param user_id text: the user of taskapi_user, else empty
-- @param issued_at double precision: when the user's token was issued, as Unix time
-- @param email text: the email of taskapi_login, else empty
-- @param expires_at text: until when the signature is valid, as Unix time
-- @param signature text: HMAC-SHA256, in hexadecimal digits, of the role, expires_at, and the user
-- or email, with a line feed between them
-- @param statement_timeout text: with its unit, such as 5000ms
-- @param max_tasks text: how many tasks the user may have
-- @return user_id: empty if the token was revoked
SELECT
    set_config(
        'app.user_id',
        CASE
            -- The policies check all others. No policy is asked for /ready.
            WHEN
                %(role)s = 'none' AND is_signed('none', '', %(expires_at)s, %(signature)s)
                THEN ''
            WHEN
                accepts_token(
                    nullif(%(user_id)s, '')::uuid, to_timestamp(%(issued_at)s::double precision)
                )
                THEN %(user_id)s
            ELSE ''
        END,
        true
    ) AS user_id,
    set_config('app.email', %(email)s, true),
    set_config('app.expires_at', %(expires_at)s, true),
    set_config('app.signature', %(signature)s, true),
    set_config('app.max_tasks', %(max_tasks)s, true),
    set_config('statement_timeout', %(statement_timeout)s, true),
    set_config('TimeZone', 'UTC', true),
    set_config('DateStyle', 'ISO', true),
    set_config('role', %(role)s, true);
