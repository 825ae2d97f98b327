"""Tables, figures and a page from finished runs. Reads files only, and never imports torch."""
