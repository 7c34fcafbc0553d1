"""One module per way to a posterior, all of the same shape.

``fit(…, seed=…)`` returns a posterior, and ``posterior.predictive(X, …)`` returns a predictive.
Each module imports its own framework; this package imports none.
"""
