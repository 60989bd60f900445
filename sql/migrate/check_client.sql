-- Have the server look once a second, while it runs a statement of this session, whether the client
-- is still there. Otherwise the statement of a process that was killed runs to its end. Fails with
-- 22023 where the server's operating system can't tell.
-- @return one row that nobody reads
SELECT set_config('client_connection_check_interval', '1s', false);
