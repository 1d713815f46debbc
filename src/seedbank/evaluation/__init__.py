"""Judging images for reports: the auditor, contact sheets."""
