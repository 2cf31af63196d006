"""Training: recipes, data streams, losses and one loop that resumes exactly. `askmask train RECIPE key=value`."""
