"""What commands print and write: tables, progress, pictures in a terminal."""
