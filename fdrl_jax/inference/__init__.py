"""Uses of a trained model: sampling, classes, translation, refinement, interpolation and export."""
