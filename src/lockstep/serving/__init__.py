"""The API: one model, checked before it answers, followed through promotions and rollbacks."""
