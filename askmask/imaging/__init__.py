"""Pixels: masks, pictures, resizing and drawing, with numpy and Pillow alone."""
