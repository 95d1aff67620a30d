"""The composition root: opens, wires, drains and closes everything else, and decides every order."""
