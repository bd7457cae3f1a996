"""Images on disk and the table that describes them."""
