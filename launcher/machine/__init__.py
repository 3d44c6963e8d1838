"""What this machine reports about itself: folders, devices, toolkits, addresses."""
