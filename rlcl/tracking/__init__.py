"""Run folders: their files, readers, writers and index."""
