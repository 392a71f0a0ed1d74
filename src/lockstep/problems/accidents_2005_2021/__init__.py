"""Persons sampled from the French road accidents of 2005 to 2021: a prepared table with its split by time."""
