"""C++ for the network on a CPU and for preparing images, compiled on the machine that uses it."""
