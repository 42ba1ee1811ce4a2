"""Output of commands: tables, progress, pictures in a terminal."""
