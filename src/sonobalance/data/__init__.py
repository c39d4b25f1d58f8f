"""From files to verified parts: manifest, images, audit, splits, loading, phantoms."""
