-- So that the next system doesn't read past what the last one has left.
VACUUM tasks;
