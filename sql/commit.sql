-- End a transaction block: commit it, or roll it back if a statement of it has failed.
COMMIT;
