"""HTTP server of a bundle: batched predictions, a log of requests and feedback, bundle changes without downtime."""
