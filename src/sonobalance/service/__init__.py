"""The HTTP service and web page of a bundle; needs the extra `serve`."""
