"""What can be done to the pixels of an image, by Pillow or by compiled code."""
