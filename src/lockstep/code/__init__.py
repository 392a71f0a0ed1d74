"""What a stage's code means: its modules, the files they read, and the packages they need."""
