//! The list of cases that drives every check of every op.
