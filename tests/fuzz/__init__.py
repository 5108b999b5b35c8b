"""Cases drawn by seed that a user, a disk or a client may send; none of them may end in a traceback."""
