-- Give the transaction a role, whom it acts for, and the settings that the next statement counts
-- on. All of it ends with the transaction, so that a pooled connection keeps nothing of a user.
SELECT
    set_config('role', %(role)s, true),
    set_config('app.user_id', %(user_id)s, true),
    set_config('app.email', %(email)s, true),
    set_config('statement_timeout', %(statement_timeout)s, true),
    set_config('TimeZone', 'UTC', true),
    set_config('DateStyle', 'ISO', true);
