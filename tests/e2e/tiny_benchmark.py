"""Settings of a benchmark or a run that takes seconds on phantoms of 32 px."""

FEW_EXPLAINED = {
    "heavy_images": 2, "faithfulness_images": 4, "sanity_images": 2, "relabelled_images": 24,
    "generated_images": 8, "steps": 3, "gradient_steps": 4, "resamples": 100,
}  # fmt: skip
TINY = {
    "audit": {"exhaustive_up_to": 0, "shortlist_size": 2},
    "gan": {
        "image_size_px": 32, "base_channels": 4, "latent_dim": 16, "batch_size": 8,
        "autoencoder_kimg": 0.08, "total_kimg": 0.08, "snapshot_kimg": 0.08,
        "collapse_fraction": 0.0, "repetition_limit": 1.0,
    },
    "synthesis": {"rounds": 1, "gan_kimg_per_round": 0.0, "inner_repeats": 1},
    "classifier": {
        "backbone": "test_resnet", "image_size_px": 32, "epochs": 1, "batch_size": 16,
    },
    "evaluation": {"resamples": 100},
    "explanation": FEW_EXPLAINED,
}  # fmt: skip
