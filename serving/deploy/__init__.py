"""Deployment of exported models: settings, and the files that are rendered from them."""
