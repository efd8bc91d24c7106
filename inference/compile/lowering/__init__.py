"""From a captured graph to machine code: inductor, its C++ compiler, matrix products, and the process beside."""
