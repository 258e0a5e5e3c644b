"""From images and templates to features: encoded once, compared, kept on disk."""
