"""`effnet-launch`: everything that the dashboard can do, without a screen."""
