"""Questions that several trainings answer together: train and measure each cell, one table and one figure."""
