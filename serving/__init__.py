"""From a trained run to a served ranking: export, local server, client and deployment."""
