-- Delete the keys that identities are not to be signed with any more.
-- @param inner_pads bytea[]: of the keys that stay
-- @return added_at: when each deleted one was added
DELETE FROM identity_keys
WHERE inner_pad <> ALL (%(inner_pads)s::bytea[])
RETURNING added_at;
