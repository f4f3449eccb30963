"""What a rule can be turned into. pySigma is imported in this package and nowhere else."""
