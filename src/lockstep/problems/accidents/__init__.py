"""French road accidents: the publisher's raw files of every era, and a generator of look-alikes."""
