"""Transfer-learned classifier with channel and spatial attention."""
