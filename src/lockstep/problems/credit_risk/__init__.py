"""Default on a consumer loan, a row an application; the business sets the threshold."""
