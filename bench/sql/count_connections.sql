-- How many connections a program has to this database.
SELECT count(pid) AS connections
FROM pg_stat_activity
WHERE datname = current_database()
    AND application_name = %(application)s;
