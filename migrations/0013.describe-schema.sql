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
    'As it was typed at sign-up, at most 254 characters; unique without regard to case. Closing '
    'the account replaces it.';
COMMENT ON COLUMN users.password_hash IS
    'Argon2id in PHC format, with its parameters and salt. Null: the account is an identity '
    'provider''s and no password opens it. Sign-up writes it; a login replaces a hash that has '
    'outdated parameters.';
COMMENT ON COLUMN users.created_at IS
    'When the account was created, by the database''s clock at the start of the transaction.';

COMMENT ON TABLE tasks IS
    'Tasks, each of one user and deleted with the account. The large table: every request of a '
    'user reads or writes it through an index that starts with user_id. Row-level security is '
    'forced.';
COMMENT ON COLUMN tasks.id IS
    'Random UUID from the database, or one that the client chose. Unique among the tasks of its '
    'user. Never changes.';
COMMENT ON COLUMN tasks.user_id IS 'The owner, whose requests alone see the task. Never changes.';
COMMENT ON COLUMN tasks.title IS
    'One line of 1 to 500 characters without white space at its ends. The service also refuses '
    'control characters in new titles.';
COMMENT ON COLUMN tasks.description IS
    'Free text of at most 10,000 characters; what is over about 2,000 bytes is stored out of line '
    '(TOAST). Null: none, which differs from an empty text.';
COMMENT ON COLUMN tasks.completed IS 'Whether the user has marked the task as done.';
COMMENT ON COLUMN tasks.created_at IS
    'When the task was created, by its user''s clock. Lists '
    'are ordered by created_at and id. Never changes.';
COMMENT ON COLUMN tasks.updated_at IS
    'The task''s version, which ETags show, and its place in the change feed: the time of the last '
    'change by its user''s clock. Set by triggers, also for what is typed by hand.';

COMMENT ON TABLE clocks IS
    'A clock for each user who has written a task. A writer locks and advances it until its '
    'transaction ends, so that the changes of a user are committed in the order of their times.'
    ' Run SELECT advance_clock(user_id) first in a transaction that changes or deletes tasks.';
COMMENT ON COLUMN clocks.user_id IS 'The user. A trigger of users deletes the row.';
COMMENT ON COLUMN clocks.at IS 'The time of the last change: later than all before.';
COMMENT ON COLUMN clocks.advanced_by IS
    'The transaction that advanced it last. It does so once, unless it changes a task twice.';
COMMENT ON COLUMN clocks.purged_at IS
    'Up to this time, the purge has deleted rows of deleted_tasks: older tokens of the change feed '
    'get 410.';
COMMENT ON COLUMN clocks.tasks IS
    'How many tasks the user has, for the limit MAX_TASKS. Null: the next new task counts them.'
    ' Set it to null after TRUNCATE, or writes with session_replication_role = replica.';

COMMENT ON TABLE deleted_tasks IS
    'What the change feed shows of tasks that are gone. Rows are purged after 30 days. Row-level '
    'security is forced.';
COMMENT ON COLUMN deleted_tasks.user_id IS 'The task''s owner.';
COMMENT ON COLUMN deleted_tasks.id IS 'The task''s id. A task with this id may exist again.';
COMMENT ON COLUMN deleted_tasks.deleted_at IS 'When it was deleted, by its user''s clock.';

COMMENT ON TABLE feed_epoch IS
    'One row. Tokens of the change feed have the epoch that they were issued in, and only those of '
    'this one are valid.';
COMMENT ON COLUMN feed_epoch.is_only_row IS 'True, so that there can be one row only.';
COMMENT ON COLUMN feed_epoch.epoch IS
    'A random UUID. After a restore, or a failover that lost writes, python -m taskapi reset-feeds '
    'sets another one.';

COMMENT ON TABLE closed_accounts IS
    'Accounts that their owner or an operator has closed. The purge deletes their tasks, then the '
    'accounts. Row-level security is forced.';
COMMENT ON COLUMN closed_accounts.user_id IS
    'The account, whose email is its id at closed.invalid from then on.';
COMMENT ON COLUMN closed_accounts.closed_at IS 'When it was closed, by the database''s clock.';

COMMENT ON TABLE revocations IS
    'Users whose older tokens are invalid, because they logged out everywhere, changed the '
    'password or closed the account. The purge deletes rows when those tokens have expired.';
COMMENT ON COLUMN revocations.user_id IS
    'The user. Not a foreign key: the row outlives a deleted user.';
COMMENT ON COLUMN revocations.tokens_not_before IS
    'Tokens that were issued before are invalid; infinity: all are.';

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
    'Trigger of tasks: makes updated_at of a changed task the time of its user''s clock.';

COMMENT ON FUNCTION tasks_set_times() IS
    'Trigger of tasks: makes updated_at of a new task the time of its user''s clock, and '
    'created_at too unless it is given.';
COMMENT ON FUNCTION advance_clock(uuid, timestamptz) IS
    'Locks a user''s clock until the transaction ends, advances it once, and returns its time, '
    'which is later than the second argument.';
COMMENT ON FUNCTION tasks_note_deletion() IS
    'Trigger of tasks: keeps the id of a task that is gone in deleted_tasks.';
COMMENT ON FUNCTION idempotency_keys_set_created_at() IS
    'Trigger of idempotency_keys: gives a new key the time of its task.';
COMMENT ON FUNCTION users_delete_clock() IS
    'Trigger of users: deletes the clock of a user who is deleted. Runs with its owner''s rights.';
COMMENT ON FUNCTION users_revoke_tokens() IS
    'Trigger of users: makes all tokens of a user who is deleted invalid. Runs with its owner''s '
    'rights.';
COMMENT ON FUNCTION accepts_token(uuid, timestamptz) IS
    'Whether a token that was issued to the user at this time is valid. Runs with its owner''s '
    'rights, because the service''s login can read no table.';
COMMENT ON FUNCTION tasks_count_created() IS
    'Trigger of tasks: counts new tasks in clocks, and refuses those beyond the setting '
    'app.max_tasks.';
COMMENT ON FUNCTION tasks_count_deleted() IS
    'Trigger of tasks: subtracts deleted tasks from the number in clocks.';
COMMENT ON FUNCTION tasks_count_again() IS
    'Trigger of tasks: makes the next new task count all, after a task was given to another user.';

COMMENT ON POLICY clocks_of_user ON clocks IS
    'A user''s requests see and write only the clock of the user in the setting app.user_id.';
COMMENT ON POLICY clocks_of_purge ON clocks IS
    'The purge notes for any user up to where it has deleted.';
COMMENT ON POLICY deleted_tasks_of_user ON deleted_tasks IS
    'A user''s requests see and write only the rows of the user in the setting app.user_id.';
COMMENT ON POLICY expired_deleted_tasks ON deleted_tasks IS
    'The purge, which acts for no user, sees and deletes rows that are older than 30 days, and '
    'nothing else.';
COMMENT ON POLICY revocations_of_user ON revocations IS
    'A user''s requests see and write only the row of the user in the setting app.user_id.';
COMMENT ON POLICY revocations_of_email ON revocations IS
    'A change of password, and an operator, write the row of the account that they see.';
COMMENT ON POLICY later_revocations ON revocations IS
    'The same, for an account that has such a row already.';
COMMENT ON POLICY shown_revocations ON revocations IS
    'The purge sees all rows, which have ids and times only.';
COMMENT ON POLICY old_revocations ON revocations IS
    'The purge deletes rows of the past, and none that holds for ever.';
COMMENT ON POLICY users_of_token ON users IS
    'A user''s requests see the account of the user in the setting app.user_id.';
COMMENT ON POLICY users_to_close ON users IS
    'The account of the email in the setting app.email may be given another email as it is closed.';
COMMENT ON POLICY users_of_closed_email ON users IS
    'The statement that closes an account sees it also with its new email.';
COMMENT ON POLICY only_closed_users ON users IS
    'Restrictive: only closed accounts can be deleted.';
COMMENT ON POLICY tasks_of_closed_accounts ON tasks IS
    'The purge, which acts for no user, sees and deletes tasks of closed accounts only.';
COMMENT ON POLICY shown_closed_accounts ON closed_accounts IS
    'The purge sees all rows, which have ids and times only.';
COMMENT ON POLICY closed_accounts_of_email ON closed_accounts IS
    'Only the account of the email in the setting app.email can be closed.';
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
