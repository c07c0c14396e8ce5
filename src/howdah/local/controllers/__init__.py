"""The controllers of the local platform: StatefulSet, endpoints, garbage collector."""
