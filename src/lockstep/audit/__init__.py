"""Is the registry what it says it is: verify, doctor, reproduce, bundles."""
