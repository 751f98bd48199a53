"""What a run leaves behind: volumes, tables, the report, all from one `CaseResult`."""
