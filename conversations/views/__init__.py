"""The pages of conversations, and the actions on them by HTTP."""
