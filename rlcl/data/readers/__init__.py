"""Readers of data sets: files of a user's own, and those of scikit-learn, torchvision and Avalanche."""
