"""From an evaluated model to the registry's champion: gates, promotion, serving."""
