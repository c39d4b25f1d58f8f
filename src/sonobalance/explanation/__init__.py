"""Evidence maps and the measures that say whether to believe them."""
