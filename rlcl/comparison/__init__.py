"""Statistical comparison of learners by the folders of their runs."""
