"""From raw rows to scores, decisions and contributions, by one path everywhere."""
