"""Evaluation of samples: metrics, feature spaces, evaluation protocols, figures and reports."""
