"""The report of an evaluation: figures as JSON, and one HTML page that shows them without network or JavaScript."""
