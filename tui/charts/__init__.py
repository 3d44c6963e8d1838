"""Charts: curves, thinned to the columns of the screen."""
