"""Readers of data sets: the user's files, and data sets of scikit-learn, torchvision and Avalanche."""
