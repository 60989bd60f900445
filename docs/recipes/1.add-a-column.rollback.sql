-- squawk-ignore ban-drop-column: the way back takes away what the way up made
ALTER TABLE tasks DROP COLUMN IF EXISTS priority;
