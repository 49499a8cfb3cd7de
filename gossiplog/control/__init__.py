"""One node, many hands: the socket in a store's directory, through which others use it while a node has it."""
