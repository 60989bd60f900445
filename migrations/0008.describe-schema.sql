-- What each table, column, function and policy is for, where psql's \d+ and every other client show
-- it. This changes no row, and no request waits for it: COMMENT takes SHARE UPDATE EXCLUSIVE, which
-- conflicts with VACUUM and other changes of the schema only. So it may wait for those as long as
-- they take.
SET lock_timeout = 0;

COMMENT ON TABLE users IS
    'Accounts, one row each. Row-level security is forced: a role without BYPASSRLS sees no rows '
    'unless it says for whom it acts (sql/act_as.sql).';
COMMENT ON COLUMN users.id IS
    'Random UUID from the database, or the one that an identity provider''s token names. Never '
    'changes.';
COMMENT ON COLUMN users.email IS
    'As it was typed at sign-up, at most 254 characters; unique without regard to case. Never '
    'changes.';
COMMENT ON COLUMN users.password_hash IS
    'Argon2id in PHC format, with its parameters and salt. Null: the account is an identity '
    'provider''s and no password opens it. Sign-up writes it; a login replaces a hash that has '
    'outdated parameters.';
COMMENT ON COLUMN users.created_at IS
    'When the account was created, by the database''s clock at the start of the transaction.';

COMMENT ON TABLE tasks IS
    'Tasks, each of one user and deleted with the account. The large table: every request of a '
    'user reads or writes it through an index that starts with user_id, or by id. Row-level '
    'security is forced.';
COMMENT ON COLUMN tasks.id IS 'Random UUID from the database. Never changes.';
COMMENT ON COLUMN tasks.user_id IS 'The owner, whose requests alone see the task. Never changes.';
COMMENT ON COLUMN tasks.title IS
    'One line of 1 to 500 characters without white space at its ends. The service also refuses '
    'control characters in new titles.';
COMMENT ON COLUMN tasks.description IS
    'Free text of at most 10,000 characters; what is over about 2,000 bytes is stored out of line '
    '(TOAST). Null: none, which differs from an empty text.';
COMMENT ON COLUMN tasks.completed IS 'Whether the user has marked the task as done.';
COMMENT ON COLUMN tasks.created_at IS
    'When the task was created, by the database''s clock at the start of the transaction. Lists '
    'are ordered by created_at and id. Never changes.';
COMMENT ON COLUMN tasks.updated_at IS
    'The task''s version, which ETags show: the time of the last change, but always later than '
    'the value before. Set by the trigger tasks_set_updated_at, also for an UPDATE typed by hand.';

COMMENT ON TABLE idempotency_keys IS
    'The Idempotency-Keys that users have created tasks with, so that a repeated request gets the '
    'first answer. Rows expire after 24 hours; the purge and further requests of the user delete '
    'them. Row-level security is forced.';
COMMENT ON COLUMN idempotency_keys.user_id IS
    'The user who sent the key. Keys of different users are independent.';
COMMENT ON COLUMN idempotency_keys.key IS
    'The header''s value: 1 to 255 printable ASCII characters, chosen by the client.';
COMMENT ON COLUMN idempotency_keys.request_hash IS
    'SHA-256 of what the first request asked for: the same key with another request is refused.';
COMMENT ON COLUMN idempotency_keys.task_id IS
    'The task that the first request created. Not a foreign key: the task may be deleted since.';
COMMENT ON COLUMN idempotency_keys.created_at IS
    'When the key was first used, by the database''s clock. 24 hours later it expires.';

COMMENT ON TABLE login_attempts IS
    'Counters of logins and sign-ups within the last minute, shared by all workers and machines. '
    'Unlogged: empty after a crash, and may be truncated at any time. Logins delete rows that have '
    'expired. No row-level security: it has no user''s data.';
COMMENT ON COLUMN login_attempts.key IS
    'What is counted: "client:" with an IPv4 address or IPv6 /64, "block:" with an IPv6 /48, '
    '"address:" with the SHA-256 of an email in lower case, or "signup:" with a client or block.';
COMMENT ON COLUMN login_attempts.tried_at IS
    'When, the oldest first. For logins always as many elements as attempts may fail within a '
    'minute, -infinity where there was none; for sign-ups those of the last minute.';
COMMENT ON COLUMN login_attempts.expires_at IS
    'One minute after the last attempt. From then on the row counts nothing and may be deleted.';
COMMENT ON COLUMN login_attempts.clients IS
    'For sign-ups, the client of each element of tried_at, because the clients of an IPv6 block '
    'share a row. Null for logins.';

COMMENT ON FUNCTION current_user_id() IS
    'The user that this transaction acts for: the UUID in the setting app.user_id, which '
    'sql/act_as.sql sets. Null, which equals no row, if it is missing or not a UUID. The policies '
    'compare user_id with it.';
COMMENT ON FUNCTION tasks_set_updated_at() IS
    'Trigger of tasks: makes updated_at the time of the transaction, or one microsecond more than '
    'before if that is later.';

COMMENT ON POLICY users_of_email ON users IS
    'Sign-up and login see and create only the account of the email in the setting app.email.';
COMMENT ON POLICY users_of_id ON users IS
    'An identity provider''s user may create its own account, without a password, along with its '
    'first task.';
COMMENT ON POLICY tasks_of_user ON tasks IS
    'A user''s requests see and write only the tasks of the user in the setting app.user_id.';
COMMENT ON POLICY idempotency_keys_of_user ON idempotency_keys IS
    'A user''s requests see and write only the keys of the user in the setting app.user_id.';
COMMENT ON POLICY only_expired_idempotency_keys ON idempotency_keys IS
    'Restrictive: of these, a user''s requests can delete only keys that are older than 24 hours.';
COMMENT ON POLICY expired_idempotency_keys ON idempotency_keys IS
    'The purge, which acts for no user, sees and deletes keys that are older than 24 hours, and '
    'nothing else.';
