"""Looking at what MindSpore's back ends find on this machine, and installing CUDA's libraries."""
