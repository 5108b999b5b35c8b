"""Entry point of ``python -m rlcl``."""

from rlcl.commands import main

main()
