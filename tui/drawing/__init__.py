"""What every widget draws with: glyphs, themes, sizes, text."""
