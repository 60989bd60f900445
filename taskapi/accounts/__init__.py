"""Accounts, logins and tokens, and which user a request acts for."""
