"""Questions to models: descriptions of images and proposals of prompts."""
