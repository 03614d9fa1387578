"""Libraries: files of up to a million molecules of which only those that look best in two dimensions get a geometry."""
