"""C++ kernels that the network uses on a CPU, compiled on the machine that uses them."""
