-- Make all tokens of the change feed invalid, for after a restore, or a failover that lost writes.
-- @param epoch uuid: a new one
-- @return epoch
UPDATE feed_epoch
SET epoch = %(epoch)s::uuid
RETURNING epoch;
