"""Import of results of other libraries into run folders, so that they can be compared and reported."""
