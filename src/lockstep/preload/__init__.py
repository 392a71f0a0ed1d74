"""Commands in forks of one process that has imported the libraries: no command waits for imports.

``process`` starts that process, ``server`` is its program, ``client`` stands in for `python`. The
last two import nothing of this package.
"""
