"""Examples that `export` puts beside a balanced set; they need no sonobalance."""
