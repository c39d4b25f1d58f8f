"""The class-conditional dual-discriminator generative adversarial network."""
