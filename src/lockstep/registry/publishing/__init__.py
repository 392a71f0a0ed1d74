"""From a training's outputs to its run and its version."""
