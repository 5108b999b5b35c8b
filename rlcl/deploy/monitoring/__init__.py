"""Whether what a deployed model is asked, answers and gets right is still what it was: see docs/reference/drift.md."""
