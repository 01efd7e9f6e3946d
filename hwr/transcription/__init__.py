"""From a page to files of text."""
