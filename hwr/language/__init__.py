"""Language models: n-grams, lexicons, confusions of a recogniser, edit costs."""
