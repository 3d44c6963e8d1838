"""The launcher's pure core: frozen records in, frozen records out; time and ids are arguments."""
