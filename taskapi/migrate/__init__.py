"""Migrations: yoyo runs the files of `migrations/`, with locks, checksums and retries around it."""
