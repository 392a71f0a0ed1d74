"""The same training on Apache Spark: tasks read, encode and fit; the formulas are the project's."""
