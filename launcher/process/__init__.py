"""Processes of this machine: spawn, own, signal, guard; knows nothing about runs."""
