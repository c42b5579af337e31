"""Training: data, losses, the loop, checkpoints, and how well a control is followed."""
