"""``python -m rlcl``."""

from rlcl.commands import main

main()
