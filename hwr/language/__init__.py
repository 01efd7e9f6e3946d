"""What is known of a language and of how it is misread: n-gram models, lexicons, confusions, edit costs."""
