"""Default on a consumer loan, one row an application: a binary problem whose threshold belongs to the business."""
