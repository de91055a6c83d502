"""What happened: a spool that loses nothing, one ingester, one DuckDB table."""
