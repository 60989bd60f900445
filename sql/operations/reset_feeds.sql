-- Make all tokens of the change feed invalid, for after a restore, or a failover that lost writes.
-- @return epoch: the new one
UPDATE feed_epoch
SET epoch = gen_random_uuid()
RETURNING epoch;
