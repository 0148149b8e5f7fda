"""Routes: templates that say whom a record is for and what it becomes. Sans-I/O."""
