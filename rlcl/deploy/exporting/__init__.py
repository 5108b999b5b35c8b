"""Export of a finished run as a bundle; together with updating the part of deployment that needs torch."""
