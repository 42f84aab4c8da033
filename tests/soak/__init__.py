"""A long campaign: many clients, good and bad ones, over an upstream that freezes, dies and comes back."""
