-- Set the role, the identity that row-level security checks, and the settings that the next
-- statement relies on. All of it ends with the transaction: a pooled connection keeps nothing.
-- @param role text: taskapi_user, taskapi_login, or none for the role of the connection
-- @param user_id text: the user of taskapi_user, else empty
-- @param email text: the email of taskapi_login, else empty
-- @param statement_timeout text: with its unit, such as 5000ms
-- @return one row that nobody reads
SELECT
    set_config('role', %(role)s, true),
    set_config('app.user_id', %(user_id)s, true),
    set_config('app.email', %(email)s, true),
    set_config('statement_timeout', %(statement_timeout)s, true),
    set_config('TimeZone', 'UTC', true),
    set_config('DateStyle', 'ISO', true);
