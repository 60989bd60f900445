"""How a statement of `sql/` reaches PostgreSQL and its rows come back."""
