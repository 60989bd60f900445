-- Add a column. No row is rewritten: the lock is short, whatever the table's size. A constant
-- default given with the column would be read from every row at once, and nothing had to be filled;
-- given after it, it is for new rows only.

-- Two bytes are enough, there are four priorities.
-- squawk-ignore prefer-bigint-over-smallint
ALTER TABLE tasks ADD COLUMN IF NOT EXISTS priority smallint;
ALTER TABLE tasks ALTER COLUMN priority SET DEFAULT 0;
