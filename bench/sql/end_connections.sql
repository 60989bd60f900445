-- End all connections of a program to this database, waiting up to 5 s for each.
SELECT pg_terminate_backend(pid, 5000) AS ended
FROM pg_stat_activity
WHERE datname = current_database()
    AND application_name = %(application)s;
