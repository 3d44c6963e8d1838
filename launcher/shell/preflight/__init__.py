"""Asking nodes what a preflight and the doctor want to know, and mending what is safe to mend."""
