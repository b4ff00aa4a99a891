"""What tests/bench needs: the servers that are compared, the load on them, and the verdict."""
