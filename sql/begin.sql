-- Begin a transaction block, without which Citus tells the other servers no settings.
BEGIN;
