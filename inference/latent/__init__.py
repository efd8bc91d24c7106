"""The latent space: codes, paths between them, traversals, rates and maps."""
