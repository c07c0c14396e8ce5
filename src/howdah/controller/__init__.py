"""The operator process: read → decide → write, for every cluster."""
