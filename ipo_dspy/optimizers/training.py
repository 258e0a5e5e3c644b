"""How prompt learners are trained: rates, batches, weights of the average, and the loop."""
