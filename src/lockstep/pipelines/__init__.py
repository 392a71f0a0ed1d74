"""Earlier places of commands, kept for scripts of users that call them."""
