"""Commands with logic of their own; the table of all is `hwr/config/command_table.py`."""
