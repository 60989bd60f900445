"""What operators see and run: logs, metrics, health, the gunicorn worker, the purge."""
