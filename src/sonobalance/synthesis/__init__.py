"""Iterative synthesis: propose, gate, add, retrain, stop by rule."""
