"""The screens: each starts its feed when it is shown and ends it when it goes."""
