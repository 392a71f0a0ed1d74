"""Persons of French road accidents from 2005 to 2021: a prepared table split by time."""
