"""The same slow clients against each server model, one after the other."""
