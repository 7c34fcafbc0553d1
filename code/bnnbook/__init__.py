"""Helpers that the chapters import: data, predictives, scores, claims, figures and methods.

Every method ends in a predictive (`bnnbook.predictive`); scores and figures take predictives
and nothing else.  Importing this package loads neither TensorFlow nor PyTorch: a chapter pays
only for the framework that it uses.
"""
