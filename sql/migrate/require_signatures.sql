-- Accept only identities that are signed with one of these keys.
-- @param inner_pads bytea[]: of all keys that stay
-- @return deleted_keys: how many keys were deleted
WITH deleted AS (
    DELETE FROM identity_keys
    WHERE inner_pad <> ALL (%(inner_pads)s::bytea[])
    RETURNING inner_pad
), required AS (
    UPDATE identity_settings
    SET accepts_unsigned = FALSE
    RETURNING is_only_row
)
SELECT (SELECT count(inner_pad) FROM deleted) AS deleted_keys
FROM required;
