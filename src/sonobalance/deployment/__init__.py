"""What leaves the run: a bundle that checks itself, predictions of files, ONNX."""
