"""The CPU image, built and run by podman without a daemon."""
