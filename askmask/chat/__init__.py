"""A conversation over a picture in the terminal: lines in, masks on disk and words out."""
