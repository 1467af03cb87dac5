"""Whether a work directory is whole and means what its manifests say."""
