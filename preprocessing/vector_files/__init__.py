"""Knowledge vectors made elsewhere: one file here for each format."""
