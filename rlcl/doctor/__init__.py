"""Examination of environments: habits that learners do not expect, each with a remedy."""
