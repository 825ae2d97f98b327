"""What is asked: the observation, the operator it was seen through, and the terms that a fit minimises."""
