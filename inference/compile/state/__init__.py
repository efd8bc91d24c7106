"""What a graph holds fixed: the signature of a call, the programs' modules, and all that their code reads."""
