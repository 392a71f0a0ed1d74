"""The commands people type: parse the arguments, call a room below, print the answer."""
