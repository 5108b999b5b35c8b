"""The next experience of a deployed model: a candidate is trained on it, judged, and kept or refused."""
