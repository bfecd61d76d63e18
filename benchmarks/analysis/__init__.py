"""The whole analysis of a recording beside tshark on the same captures."""
