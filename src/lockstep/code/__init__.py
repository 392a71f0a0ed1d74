"""What a stage's code means: the modules it imports, the files they read, the packages they need."""
