"""Pages for signing in, the account and the team."""
