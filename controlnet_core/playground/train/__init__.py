"""How the playground's weights came to be; `python -m ...playground.train` makes them again."""
