"""From a trained run to a served ranking: export, local server and client."""
