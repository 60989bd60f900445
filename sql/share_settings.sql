-- Tell the servers of a distributed database what act_as has set. deploy/citus/distribute.sql
-- creates the function.
-- @return one row that nobody reads
SELECT share_settings();
