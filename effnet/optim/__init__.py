"""What changes the weights: the loss, the schedule and the optimizer."""
