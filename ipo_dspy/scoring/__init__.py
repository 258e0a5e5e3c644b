"""From texts to scores, on training images and on unseen ones."""
