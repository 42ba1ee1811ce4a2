"""(image, recipe, key, seed) -> pairs: what a corpus holds, with no file and no process involved."""
