"""The benchmark: every arm on the same folds and seeds, paired and resumable."""
