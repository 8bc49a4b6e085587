"""The whole life of a code model on one machine: repositories in, a served answer out."""
