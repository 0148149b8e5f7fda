"""Ready routes: for records in a form that others have defined."""
