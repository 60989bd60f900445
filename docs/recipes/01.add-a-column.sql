-- Add a column. No row is rewritten, so the lock is short, whatever the table's size. The default
-- is set after the column is added: it is for new rows only, and the next recipe fills the others.
-- (A constant default in ADD COLUMN is as fast, and is the value of every row at once.)

-- Two bytes are enough for four priorities.
-- squawk-ignore prefer-bigint-over-smallint
ALTER TABLE tasks ADD COLUMN IF NOT EXISTS priority smallint;
ALTER TABLE tasks ALTER COLUMN priority SET DEFAULT 0;
