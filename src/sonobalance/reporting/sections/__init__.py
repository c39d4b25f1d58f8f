"""The chapters of the report, one file and one template each."""
