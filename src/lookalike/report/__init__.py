"""What people look at: picture sheets, curves, tables, the terminal summary and the HTML report."""
