"""Who finds better words for CLIP, at the same number of language-model calls?"""
